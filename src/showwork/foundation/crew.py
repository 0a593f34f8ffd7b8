"""Work on the parts of a file in several processes; what they make comes back in the order of the parts.

Takes:  a function of a module that makes tables of one part, the number of parts and of processes.
Leaves: the tables, in order, and what each process says at its end.

Another process has a few parts to do at a time and is told the next when a piece of its is taken. This one, which has the pieces to see
to as well, makes one itself only while the piece that comes next is not there yet: so each does as much as it has time for, and
memory stays bounded. Tables cross as Arrow's own bytes and are not pickled. Processes are started anew (spawn), so no thread or
lock of this one is carried over.
"""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import pyarrow as pa

from showwork.foundation.overlap import Behind

Piece = Sequence[pa.RecordBatch | pa.Table]
Pieces = Iterator[Piece]
Made = tuple[Callable[[int], Piece], Callable[[], Any]]
Maker = Callable[..., Made]
"""(**arguments) -> a function that makes the piece of one part; one that tells, after the last, what is to be told."""

AHEAD = 3
"""Parts that another process has been given: one that it works on, and those that it has made or may begin without asking."""
HELD = 4
"""Pieces that this process makes, at most, before their turn."""
PIPE_BYTES = 1 << 20


class Crew:
    """`with Crew(make, processes, **arguments) as crew: for piece in crew.pieces(parts): …`.

    Afterwards `crew.told` holds what each process says. This process is one of them; with one process there is no other, and
    nothing is copied. Others start with the block.
    """

    def __init__(self, make: Maker, processes: int, **arguments: Any) -> None:
        self._make, self._arguments = make, arguments
        self._others = [_Other(make, arguments) for _ in range(processes - 1)]
        self.told: list[Any] = []

    def __enter__(self) -> Crew:
        for other in self._others:
            other.start()
        return self

    def __exit__(self, *_: object) -> None:
        for other in self._others:
            other.end()

    def pieces(self, parts: int) -> Pieces:
        """The piece of each part, in order.

        Raises: what making a piece raised, when its turn comes; OSError when a process was ended from outside.
        """
        piece_of, tell = self._make(**self._arguments)
        fresh = iter(range(parts))
        doer: dict[int, _Other] = {}
        held: dict[int, Piece | Exception] = {}

        def own() -> bool:
            """Make the next part here; False when there is none."""
            if (part := next(fresh, None)) is None:
                return False
            try:
                held[part] = piece_of(part)
            except Exception as e:
                held[part] = e  # its turn has not come: pieces before it are still to be had
            return True

        def give(other: _Other) -> None:
            if (part := next(fresh, None)) is not None:
                doer[part] = other
                other.ask(part)

        first = next(fresh, None)  # it is made here, while the others start
        for other in self._others * AHEAD:
            give(other)
        for part in range(parts):
            if part == first:
                yield piece_of(part)
                continue
            if part not in doer and part not in held:
                own()
            if (by := doer.pop(part, None)) is not None:
                while not by.ready() and len(held) < HELD and own():
                    continue
                piece: Piece | Exception = by.receive()
                give(by)
            else:
                piece = held.pop(part)
            if isinstance(piece, Exception):
                raise piece
            yield piece
        self.told = [tell(), *(other.tell() for other in self._others)]


class _Other:
    """Another process, as this one sees it."""

    def __init__(self, make: Maker, arguments: dict[str, Any]) -> None:
        self._make, self._arguments = make, arguments
        self._process: BaseProcess | None = None

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._line, there = context.Pipe(duplex=False)
        theirs, self._orders = context.Pipe(duplex=False)
        with contextlib.suppress(OSError):  # a system that allows less: only slower
            fcntl.fcntl(self._line.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._process = context.Process(target=_run, args=(theirs, there, self._make, self._arguments), daemon=True)
        self._process.start()
        there.close()
        theirs.close()

    def end(self) -> None:
        if self._process:
            self._orders.close()
            self._line.close()
            self._process.join()

    def ask(self, part: int | None) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has ended: `receive` says so when its turn comes
            self._orders.send(part)

    def ready(self) -> bool:
        return self._line.poll()

    def receive(self) -> Piece | Exception:
        """The piece of the part that it was asked for first, or its error."""
        said, value = self._said()
        return [self._table(size) for size in value] if said == "tables" else value

    def tell(self) -> Any:
        self.ask(None)
        return self._said()[1]

    def _said(self) -> tuple[str, Any]:
        try:
            said: tuple[str, Any] = self._line.recv()
        except EOFError as e:
            raise _ended() from e
        return said

    def _table(self, size: int) -> pa.Table:
        buffer = pa.allocate_buffer(size)
        rest = memoryview(buffer)
        while rest:
            got = os.readv(self._line.fileno(), [rest])
            if not got:
                raise _ended()
            rest = rest[got:]
        return pa.ipc.open_stream(buffer).read_all()


def _ended() -> OSError:
    return OSError(
        "a process that judges rows was ended from outside, most likely for want of memory; give the job fewer threads "
        "or more memory and run the same command again"
    )


def _run(orders: Connection, line: Connection, make: Maker, arguments: dict[str, Any]) -> None:
    """What a process does: make the pieces it is asked for, then say what it has to tell; or its error, in place of a piece."""
    try:
        with Behind(depth=1) as later:
            try:
                piece_of, tell = make(**arguments)
                while (part := orders.recv()) is not None:
                    later(_send, line, piece_of(part))
                later(line.send, ("told", tell()))
            except (BrokenPipeError, EOFError):
                raise
            except Exception as e:
                later(line.send, ("error", e))
    except (BrokenPipeError, EOFError):
        return  # whoever asked has gone: there is nobody to tell


def _send(line: Connection, piece: Piece) -> None:
    sizes = []
    for table in piece:
        size = pa.MockOutputStream()
        _stream(table, size)
        sizes.append(size.size())
    line.send(("tables", sizes))
    for table in piece:
        _stream(table, pa.PythonFile(_Raw(line.fileno()), mode="w"))


def _stream(table: pa.RecordBatch | pa.Table, sink: pa.NativeFile) -> None:
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write(table)


class _Raw:
    """A pipe that Arrow can write to without a copy in between."""

    closed = False

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        while rest:
            rest = rest[os.write(self._handle, rest) :]
        return size

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """The pipe goes on."""
