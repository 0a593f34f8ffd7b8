from __future__ import annotations

import fcntl
import re

import jax.numpy as jnp
import numpy as np
import pytest

from showwork.learn.checkpoint import Checkpoints, History, flat, only_trainer

STATE = {"trainable": {"q": {"a": jnp.arange(6.0).reshape(2, 3)}}, "moments": (jnp.ones(4), ()), "step": jnp.int32(7)}


def save(folder, *steps: int) -> Checkpoints:
    checkpoints = Checkpoints(folder)
    for step in steps:
        checkpoints.save(step, {**STATE, "step": jnp.int32(step)}, {"note": f"n{step}"})
    checkpoints.wait()
    return checkpoints


def test_what_was_saved_comes_back_bit_for_bit_and_only_the_last_two_are_kept(tmp_path):
    checkpoints = save(tmp_path / "c", 3, 5, 7)
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["5", "7"]
    assert sorted(p.name for p in (tmp_path / "c.sealed").iterdir()) == ["5.json", "7.json"]
    state, cursor = checkpoints.restore(STATE, lambda c: None, print)
    assert (cursor["step"], cursor["note"]) == (7, "n7")
    for name, leaf in flat(STATE).items():
        found = flat(state)[name]
        assert found.dtype == leaf.dtype
        np.testing.assert_array_equal(found, leaf)
    checkpoints.close()


def test_no_checkpoint_is_none(tmp_path):
    assert Checkpoints(tmp_path / "c").restore(STATE, lambda c: None, print) is None


def damage(folder) -> None:
    """Flips the last byte of every data file of a checkpoint."""
    for path in folder.glob("state/**/d/*"):
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)


def remove_cursor(folder) -> None:
    for path in (folder / "cursor").glob("metadata"):
        path.unlink()


@pytest.mark.parametrize("harm", [damage, remove_cursor])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning_for_the_one_before(tmp_path, harm):
    save(tmp_path / "c", 3, 5).close()
    harm(tmp_path / "c/5")
    warnings: list[str] = []
    _, cursor = Checkpoints(tmp_path / "c").restore(STATE, lambda c: None, warnings.append)
    assert cursor["step"] == 3
    assert warnings == ["checkpoint of step 5 in c is passed over: its files changed since they were written"]
    assert not (tmp_path / "c/5").exists()


def test_a_checkpoint_that_was_not_sealed_is_checked_by_its_arrays(tmp_path):
    save(tmp_path / "c", 3, 5).close()
    for seal in (tmp_path / "c.sealed").iterdir():
        seal.unlink()
    metadata = tmp_path / "c/5/cursor/metadata"
    metadata.write_text(re.sub(r'"digest": ?"..', '"digest": "zz', metadata.read_text()))
    warnings: list[str] = []
    _, cursor = Checkpoints(tmp_path / "c").restore(STATE, lambda c: None, warnings.append)
    assert cursor["step"] == 3
    assert warnings == ["checkpoint of step 5 in c is passed over: its bytes changed since it was written"]


def test_a_checkpoint_whose_cursor_does_not_fit_is_passed_over(tmp_path):
    checkpoints = save(tmp_path / "c", 3, 5)
    warnings: list[str] = []
    _, cursor = checkpoints.restore(STATE, lambda c: "no" if c["step"] == 5 else None, warnings.append)
    assert cursor["step"] == 3
    assert warnings == ["checkpoint of step 5 in c is passed over: no"]


def test_a_state_is_copied_before_saving_returns(tmp_path):
    array = np.arange(4.0, dtype=np.float32)
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.save(1, {"a": array}, {})
    array[:] = -1
    checkpoints.wait()
    state, _ = checkpoints.restore({"a": array}, lambda c: None, print)
    np.testing.assert_array_equal(state["a"], [0, 1, 2, 3])


def test_a_history_is_cut_back_to_where_a_checkpoint_saw_it(tmp_path):
    history = History(tmp_path / "h.jsonl")
    for step in (1, 2):
        history.add({"step": step, "loss": 0.5})
    position = history.position()
    history.add({"step": 3})
    history.close()
    again = History(tmp_path / "h.jsonl")
    assert again.cut_back(position)
    again.add({"step": 3, "loss": 0.25})
    assert again.position()["bytes"] == (tmp_path / "h.jsonl").stat().st_size
    lines = (tmp_path / "h.jsonl").read_text().splitlines()
    assert lines == ['{"loss": 0.5, "step": 1}', '{"loss": 0.5, "step": 2}', '{"loss": 0.25, "step": 3}']


def test_a_history_that_begins_otherwise_is_left_alone(tmp_path):
    history = History(tmp_path / "h.jsonl")
    history.add({"step": 1})
    position = history.position()
    (tmp_path / "h.jsonl").write_text('{"step": 2}\n')
    assert not history.cut_back(position)
    assert (tmp_path / "h.jsonl").read_text() == '{"step": 2}\n'


def test_a_second_trainer_is_refused_and_the_first_is_named(tmp_path):
    path = tmp_path / "lock"
    with path.open("a+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write("process 4711 on node9")
        held.flush()
        refused = pytest.raises(ValueError, match="train 's': process 4711 on node9 is training this session and holds")
        with refused, only_trainer(path, "s"):
            pass
    with only_trainer(path, "s"):
        assert "process " in path.read_text()
