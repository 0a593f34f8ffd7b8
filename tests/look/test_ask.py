"""`showwork ask`: what it prints where, that it asks as the evaluation does, and the sentence for each thing amiss."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from look.shown import on_a_terminal, run
from rich.console import Console
from safetensors.numpy import save_file
from tiny_base import write_base
from tiny_model import CFG, HF, random_params
from tiny_run import quick_jax, write_base_manifest

from showwork.foundation.manifest import write_manifest
from showwork.learn.rollout import Request, Rollout, generate
from showwork.learn.trained import trained_params
from showwork.look import ask
from showwork.model.decode import unstack
from showwork.model.lora import to_peft
from showwork.model.params import layer_shapes, save_params
from showwork.tokens.template import prompt_segments
from showwork.tokens.tokenizer import load_encoder

QUESTION = "Whom does Hal serve?"
HOSTILE = "<reasoning>\x1b[2JHal serves Bo.\u202e</reasoning>\n<answer>Bo</answer>"
TEMPLATE = {"system_prompt": "Think.", "max_seq_length": 24, "min_trace_tokens": 4}


def write_session(folder: Path, name: str, seed: int) -> None:
    """A session that was trained: a random adapter, and the manifests that say how."""
    draws = np.random.Generator(np.random.PCG64(seed))
    shape = layer_shapes(CFG)["down"]
    lora = {
        "down": {
            "a": draws.normal(size=(CFG.num_layers, 2, shape[1])),
            "b": draws.normal(size=(CFG.num_layers, shape[0], 2)),
        }
    }
    for stage in ("train", "pack"):
        (folder / f"results/{stage}/{name}").mkdir(parents=True)
    adapter = folder / f"results/train/{name}/adapter.safetensors"
    save_file(to_peft(jax.tree.map(np.float32, lora), CFG), adapter)
    write_manifest(
        folder / f"results/train/{name}/manifest.json", stage="train", name=name, inputs={}, counts={},
        settings={"name": name, "dtype": "float32", "max_seq_length": 24},
        adapter={"kind": "lora", "rank": 2, "alpha": 4, "scale": 2.0}, files={"adapter": adapter},
    )  # fmt: skip
    write_manifest(
        folder / f"results/pack/{name}/manifest.json", stage="pack", name=name, inputs={}, counts={}, files={},
        settings={"name": name, "template": TEMPLATE},
    )  # fmt: skip


def write_run(folder: Path, *sessions: str) -> Path:
    """A run's folder with a base and some trained sessions, the first trained last."""
    write_base(folder / "base", config=HF)
    save_params(folder / "base", random_params(), CFG)
    write_base_manifest(folder)
    for number, name in enumerate(sessions):
        write_session(folder, name, number)
        path = folder / f"results/train/{name}/manifest.json"
        os.utime(path, (2_000_000_000 - number, 2_000_000_000 - number))
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run"), "session1", "session0")


@pytest.fixture
def canned(monkeypatch, trained):
    """Makes every model write one text, a token at a time, so that nothing is compiled."""
    encoder = load_encoder(trained / "base", HF)

    def writes(text: str, *, stops: bool = True) -> None:
        class Canned:
            def __init__(self, like, cfg, request, **how):
                self.request = request

            def write(self, weights):
                ids = [*encoder.encode_content([text])[0][0], *[encoder.end_of_turn_id] * stops]
                for n in range(1, len(ids) + 1):
                    part = np.array(ids[:n], np.int32)
                    yield Rollout(part, np.zeros(n, np.float32), stops and n == len(ids))

        monkeypatch.setattr("showwork.learn.stream.Stream", Canned)

    return writes


def ask_it(capsys, folder: Path, *more: object) -> tuple[int, str, str]:
    with quick_jax():
        return run(capsys, "ask", *more, "--directory", folder)


def test_a_pipe_gets_the_completion_harmless_and_the_rest_is_said_beside_it(canned, trained, capsys):
    canned(HOSTILE)
    code, out, err = ask_it(capsys, trained, QUESTION, "--max-new-tokens", 400)
    assert (code, out) == (0, "<reasoning>␛[2JHal serves Bo.⟨U+202E⟩</reasoning>\n<answer>Bo</answer>\n")
    assert err.startswith("session1: ")
    assert err.endswith(" tokens, well formed\n")


def test_a_terminal_shows_the_trace_dim_and_the_answer_bright(canned, trained, capsys, monkeypatch):
    canned(HOSTILE)
    screen = io.StringIO()
    shown = Console(file=screen, force_terminal=True, color_system="standard", markup=False, highlight=False, width=100)
    monkeypatch.setattr(ask, "console", lambda: shown)
    assert ask_it(capsys, trained, QUESTION, "--max-new-tokens", 400)[0] == 0
    said = screen.getvalue()
    spans = re.findall(r"\x1b\[([0-9;]+)m([^\x1b]*)\x1b\[0m", said)
    assert "".join(text for style, text in spans if style == "2") == "[2JHal serves Bo."
    assert "".join(text for style, text in spans if style == "1;97") == "Bo"
    assert "\x1b[2J" not in said
    assert "\u202e" not in said


def test_models_are_compared_side_by_side_or_one_below_the_other(canned, trained, capsys, monkeypatch):
    canned("Bo serves")
    code, out, err = ask_it(capsys, trained, QUESTION, "--compare", "base,session1", "--max-new-tokens", 400)
    assert (code, out) == (0, "── base\nBo serves\n\n── session1\nBo serves\n")
    assert "base: 10 tokens, not well formed: the tag that opens the trace is not there (no_open)" in err
    screen = io.StringIO()
    monkeypatch.setattr(ask, "console", lambda: Console(file=screen, force_terminal=True, width=80, markup=False))
    assert ask_it(capsys, trained, QUESTION, "--compare", "base,session1", "--max-new-tokens", 400)[0] == 0
    last = screen.getvalue().splitlines()
    assert any(line.count("Bo serves") == 2 for line in last)
    assert any("base" in line and "session1" in line for line in last)


def test_it_writes_what_the_sampler_of_the_evaluation_writes(trained, tmp_path, capsys):
    """Streamed, from a file and by `generate` itself."""
    manifest = json.loads((trained / "results/train/session1/manifest.json").read_text())
    encoder = load_encoder(trained / "base", HF)
    ids = encoder.encode(prompt_segments("Think.", QUESTION)).ids
    with quick_jax():
        adapter = trained / "results/train/session1/adapter.safetensors"
        weights = unstack(trained_params(trained / "base", CFG, "float32", adapter, manifest["adapter"]), CFG)
        (wanted,) = generate(weights, CFG, [Request(ids, (107, 1), 6)])
    text = encoder.decode(wanted.ids.tolist())
    (tmp_path / "q.jsonl").write_text(json.dumps({"id": "hal", "question": QUESTION, "answer": ["Bo"], "tags": ["a"]}))
    code, out, _ = ask_it(capsys, trained, "--file", tmp_path / "q.jsonl", "--max-new-tokens", 6)
    assert code == 0
    assert json.loads(out) == {
        "id": "hal", "session": "session1", "question": QUESTION, "completion": text, "trace": "", "answer": "",
        "reason": "no_open", "correct": False, "looping": False, "stop_reason": "length", "num_tokens": 6, "tags": ["a"],
    }  # fmt: skip
    code, out, err = ask_it(capsys, trained, QUESTION, "--max-new-tokens", 6)
    assert (code, out) == (0, ask.harmless(text) + "\n")
    assert (
        err
        == "session1: 6 tokens, not well formed: the tag that opens the trace is not there (no_open), cut at the limit of tokens\n"
    )


def test_it_starts_on_a_terminal(trained):
    said = on_a_terminal("ask", QUESTION, "--max-new-tokens", "1", "--session", "base", "--directory", trained)
    assert len(said.splitlines()) == 1


def test_control_tokens_in_a_question_are_made_harmless_and_said(canned, trained, capsys):
    canned("Bo")
    _, _, err = ask_it(capsys, trained, "Why<end_of_turn>?", "--max-new-tokens", 400)
    assert "made harmless in 'Why‹end_of_turn›?': <end_of_turn>" in err


def damage(folder: Path) -> str:
    file = folder / "results/train/session1/adapter.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    return "adapter.safetensors: damaged since it was made: manifest.json says sha256 "


def lose(folder: Path) -> str:
    (folder / "results/train/session1/adapter.safetensors").unlink()
    return "adapter.safetensors: manifest.json lists it but it is gone"


def lose_base(folder: Path) -> str:
    (folder / "results/download/base.json").unlink()
    return "results/download/base.json: the base is not there yet: snakemake"


@pytest.mark.parametrize("amiss", [damage, lose, lose_base])
def test_what_is_damaged_or_gone_is_one_sentence_and_stays_as_it_is(amiss, tmp_path, capsys, canned):
    write_run(tmp_path, "session1")
    canned("Bo")
    said = amiss(tmp_path)
    before = sorted(p for p in (tmp_path / "results").rglob("*"))
    code, out, err = ask_it(capsys, tmp_path, QUESTION)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert said in err
    assert sorted(p for p in (tmp_path / "results").rglob("*")) == before


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            [QUESTION, "--session", "sesion1"],
            "session 'sesion1' is not trained; there are base, session0, session1, did you mean",
        ),
        ([QUESTION, "--compare", "base,other"], "session 'other' is not trained; there are base, session0, session1"),
        ([" "], "the question is ' ', expected text"),
        (["why " * 9000], "more than the 8,192 positions of the base; shorten it or lower --max-new-tokens"),
        (["--file", "nowhere.jsonl"], "nowhere.jsonl: no such file"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(trained, capsys, more, said):
    code, out, err = ask_it(capsys, trained, *more)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("showwork ask: ")
    assert said in err


def test_before_anything_is_trained_it_says_so(tmp_path, capsys):
    write_run(tmp_path)
    code, _, err = ask_it(capsys, tmp_path, QUESTION)
    assert code == 1
    assert "results/train: nothing is trained yet; train first: snakemake --cores 8 session1" in err
    assert "or ask the base: --session base" in err


@pytest.mark.parametrize(
    "more", [["--compare", "base"], ["--compare", "a,a"], ["--temperature", "0"], ["--max-new-tokens", "x"]]
)
def test_a_command_line_that_is_none_ends_with_status_2(more):
    with pytest.raises(SystemExit) as ended:
        run(None, "ask", QUESTION, *more)
    assert ended.value.code == 2
