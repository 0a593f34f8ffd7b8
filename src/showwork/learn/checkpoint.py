"""What survives a kill: checkpoints, the history up to them, and a lock against a second trainer.

Takes   a folder of the work directory that belongs to one identity (settings, rows, base, starting adapter, code).
Leaves  checkpoints/<step>/ of arrays and a cursor together, the newest two; history.jsonl cut back to a checkpoint.
Source  orbax CheckpointManager commits a step by renaming it, so one that is cut off is never listed. What orbax does
        not do is notice bytes that changed later: each cursor holds a digest of the arrays, compared on the way back.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import xxhash

from showwork.foundation.files import canonical, read_json, write_json

KEPT = 2

logging.getLogger("absl").setLevel(logging.ERROR)


class Checkpoints:
    """The checkpoints of one identity. Saving runs in the background; arrays and cursor become visible together."""

    def __init__(self, folder: Path, kept: int = KEPT):
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._seals = self.folder.with_name(self.folder.name + ".sealed")
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=kept, cleanup_tmp_directories=True, create=False, multiprocessing_options=_alone()
            ),
        )

    def save(self, step: int, state: Any, cursor: Mapping[str, Any]) -> None:
        """Starts to write `state` (a tree of arrays) after `step` steps; returns once its values have been copied.

        Raises:
          OSError: the one before could not be written (a full disk).
        """
        self.wait()
        # A copy: on a CPU the fetched arrays are views of buffers that the next step is given to overwrite.
        named = {name: np.array(leaf) for name, leaf in flat(jax.device_get(state)).items()}
        content = ocp.args.Composite(
            state=ocp.args.StandardSave(named),
            cursor=ocp.args.JsonSave({**cursor, "step": step, "digest": digest(named)}),
        )
        self._manager.save(step, args=content)

    def restore(
        self, like: Any, accept: Callable[[dict[str, Any]], str | None], warn: Callable[[str], None]
    ) -> tuple[Any, dict[str, Any]] | None:
        """The newest checkpoint that is whole, as (state, cursor), or None. Those passed over are deleted.

        Args:
          like: a state of the same shapes and dtypes, or of jax.ShapeDtypeStruct.
          accept: given a cursor, why it cannot be used, or None.
          warn: hears of every checkpoint that is passed over.
        """
        for step in sorted(self._manager.all_steps(), reverse=True):
            problem = self._broken_seal(step)
            if problem is not None:
                self._pass_over(step, problem, warn)
                continue
            try:
                cursor = self._manager.restore(step, args=ocp.args.Composite(cursor=ocp.args.JsonRestore()))["cursor"]
                wanted = {name: np.empty(leaf.shape, leaf.dtype) for name, leaf in flat(like).items()}
                restore = ocp.args.Composite(state=ocp.args.StandardRestore(wanted))
                named = {n: np.asarray(a) for n, a in self._manager.restore(step, args=restore)["state"].items()}
                problem = (
                    accept(cursor) if digest(named) == cursor["digest"] else "its bytes changed since it was written"
                )
            except Exception as error:  # orbax and tensorstore raise many kinds for damaged files
                problem = f"it cannot be read ({type(error).__name__})"
            if problem is None:
                return jax.tree.unflatten(jax.tree.structure(like), [named[name] for name in flat(like)]), cursor
            self._pass_over(step, problem, warn)
        return None

    def wait(self) -> None:
        """Until all that was saved is on disk, and sealed: the digest of every file is noted beside it.

        Damaged files are so found before orbax opens them, which would fill the terminal with its threads' tracebacks. A
        kill between commit and seal leaves a checkpoint without one, whose arrays are checked all the same.
        """
        self._manager.wait_until_finished()
        kept = {str(step) for step in self._manager.all_steps()}
        for step in kept:
            if not self._seal(step).exists():
                write_json(self._seal(step), _file_digests(self.folder / step))
        for seal in self._seals.glob("*.json"):
            if seal.stem not in kept:
                seal.unlink()

    def close(self) -> None:
        """Waits, then stops the threads that save."""
        self.wait()
        self._manager.close()

    def _seal(self, step: int | str) -> Path:
        return self._seals / f"{step}.json"

    def _broken_seal(self, step: int) -> str | None:
        seal = self._seal(step)
        if not seal.exists() or read_json(seal) == _file_digests(self.folder / str(step)):
            return None
        return "its files changed since they were written"

    def _pass_over(self, step: int, problem: str, warn: Callable[[str], None]) -> None:
        warn(f"checkpoint of step {step:,} in {self.folder.name} is passed over: {problem}")
        self._manager.delete(step)
        self._seal(step).unlink(missing_ok=True)


def _alone() -> Any:
    """Of several processes only this one saves and reads; the others are not waited for."""
    if jax.process_count() == 1:
        return ocp.options.MultiprocessingOptions()
    own = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"p{own}"
    )


def _file_digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): _file_digest(p) for p in files}


def _file_digest(path: Path) -> str:
    found = xxhash.xxh3_128()
    with path.open("rb") as file:
        while part := file.read(1 << 24):
            found.update(part)
    return found.hexdigest()


def flat(tree: Any) -> dict[str, Any]:
    """Leaves by a name made of their path: {"moments.0.mu.q.a": array, …}, in the order of jax.tree.leaves."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def digest(named: Mapping[str, np.ndarray]) -> str:
    """Of names, dtypes, shapes and bytes; a checksum against damage, not against a forger."""
    found = xxhash.xxh3_128()
    for name, array in sorted(named.items()):
        found.update(f"{name} {array.dtype} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return found.hexdigest()


class History:
    """history.jsonl: one line a step.

    Its length and digest go into every checkpoint, so that a run that resumes cuts the file back to exactly what the
    checkpoint had seen: no gap, no line twice.
    """

    def __init__(self, path: Path):
        self.path = path
        self._size = 0
        self._digest = xxhash.xxh3_128()
        self._file = path.open("ab")

    def add(self, line: Mapping[str, Any]) -> None:
        """Appends a line that a kill of this process cannot lose."""
        data = (canonical(dict(line)) + "\n").encode()
        self._file.write(data)
        self._file.flush()
        self._digest.update(data)
        self._size += len(data)

    def position(self) -> dict[str, Any]:
        """Where the file stands, flushed to disk: for a checkpoint's cursor."""
        os.fsync(self._file.fileno())
        return {"bytes": self._size, "digest": self._digest.hexdigest()}

    def cut_back(self, position: Mapping[str, Any] | None) -> bool:
        """Cuts the file to `position` (None: to nothing). False, and the file as it was, if its beginning differs."""
        wanted = position["bytes"] if position else 0
        begin = self.path.read_bytes()[:wanted]
        found = xxhash.xxh3_128(begin)
        if position and (len(begin) != wanted or found.hexdigest() != position["digest"]):
            return False
        self._file.truncate(wanted)
        self._size, self._digest = wanted, found
        return True

    def close(self) -> None:
        """Close the file; every line was flushed."""
        self._file.close()


@contextlib.contextmanager
def only_trainer(path: Path, session: str) -> Iterator[None]:
    """Holds `path` as a lock while the block runs; the kernel frees it when this process ends, however it ends.

    Raises:
      ValueError: another process holds it; it is named.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "a process that has not said its name yet"
            raise ValueError(
                f"train {session!r}: {holder} is training this session and holds {path}; wait until it ends, or stop "
                "it, then run the same command again: it goes on from the last checkpoint"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def environment(**more: Any) -> dict[str, Any]:
    """What bits depend on beside the identity: results are equal bit for bit only where all of this is equal."""
    devices = jax.devices()
    return {
        "threads": len(os.sched_getaffinity(0)),
        "jax": jax.__version__,
        "jaxlib": jax.lib.__version__,
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "device": devices[0].device_kind,
        "devices": len(devices),
        "processes": jax.process_count(),
        **more,
    }
