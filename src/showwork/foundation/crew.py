"""Work on the parts of a file in several processes; what they make comes back in the order of the parts.

Takes:  a function of a module that makes tables of every n-th part, the number of processes.
Leaves: the tables, in order, and what each process says at its end.

A process is at most one piece ahead of the reader, so memory stays bounded; tables cross as Arrow's own bytes and are not
pickled. Processes are started anew (spawn), so no thread or lock of this one is carried over.
"""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

import pyarrow as pa

from showwork.foundation.stage import give_memory_back

Piece = Sequence[pa.RecordBatch | pa.Table]
Pieces = Iterator[Piece]
Maker = Callable[..., tuple[Pieces, Callable[[], Any]]]
"""(first, step, **arguments) -> the pieces made of parts first, first + step, …; and a function that tells, after the last
of them, what is to be told."""


class Crew:
    """`crew = Crew(make, processes, **arguments)`; `for piece in crew: …`; then `crew.told` holds what each process says.

    This process is one of them and takes its turn; with one process there is no other, and nothing is copied.
    """

    def __init__(self, make: Maker, processes: int, **arguments: Any) -> None:
        self._make, self._processes, self._arguments = make, processes, arguments
        self.told: list[Any] = []

    def __iter__(self) -> Pieces:
        context = multiprocessing.get_context("spawn")
        others: list[Connection] = []
        workers = []
        for first in range(1, self._processes):
            here, there = context.Pipe(duplex=False)
            arguments = (there, self._make, {**self._arguments, "first": first, "step": self._processes})
            workers.append(context.Process(target=_run, args=arguments, daemon=True))
            workers[-1].start()
            there.close()
            others.append(here)
        try:
            own = self._own()
            yield from _in_turns(
                [lambda: next(own), *(functools.partial(_receive, line) for line in others)], self.told
            )
        finally:
            for line in others:
                line.close()
            for worker in workers:
                worker.join()

    def _own(self) -> Iterator[Piece | _End]:
        pieces, tell = self._make(first=0, step=self._processes, **self._arguments)
        yield from pieces
        yield _End(tell())


def _in_turns(sources: Sequence[Callable[[], Piece | _End]], told: list[Any]) -> Pieces:
    """The next piece of each in turn until all have ended; what they say at their end goes to `told`, in their order."""
    ended: dict[int, Any] = {}
    turn = 0
    while len(ended) < len(sources):
        if turn not in ended:
            piece = sources[turn]()
            if isinstance(piece, _End):
                ended[turn] = piece.told
            else:
                yield piece
        turn = (turn + 1) % len(sources)
    told[:] = [ended[turn] for turn in range(len(sources))]


class _End:
    def __init__(self, told: Any) -> None:
        self.told = told


def _receive(line: Connection) -> Piece | _End:
    try:
        said, value = line.recv()
        if said == "tables":
            return [pa.ipc.open_stream(pa.py_buffer(line.recv_bytes())).read_all() for _ in range(value)]
    except EOFError as e:
        raise OSError(
            "a process that judges rows was ended from outside, most likely for want of memory; give the job fewer threads "
            "or more memory and run the same command again"
        ) from e
    if said == "error":
        raise value
    return _End(value)


def _run(line: Connection, make: Maker, arguments: dict[str, Any]) -> None:
    """What a process does: send its pieces, then what it has to tell, or its error."""
    give_memory_back()
    try:
        pieces, tell = make(**arguments)
        for piece in pieces:
            line.send(("tables", len(piece)))
            for table in piece:
                line.send_bytes(_bytes(table))
        line.send(("told", tell()))
    except BrokenPipeError:
        return  # whoever asked has gone: there is nobody to tell
    except Exception as e:
        line.send(("error", e))


def _bytes(table: pa.RecordBatch | pa.Table) -> pa.Buffer:
    size = pa.MockOutputStream()
    _stream(table, size)
    buffer = pa.allocate_buffer(size.size())
    _stream(table, pa.FixedSizeBufferWriter(buffer))
    return buffer


def _stream(table: pa.RecordBatch | pa.Table, sink: pa.NativeFile) -> None:
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write(table)
