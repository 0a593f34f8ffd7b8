"""Reads ahead and writes behind: one thread on either side of the one that works, order kept.

Takes:  an iterator that waits for disk and decompression; a function that waits for compression and disk.
Leaves: the same items in the same order, and what either side raised, raised in the thread that works. Arrow and hashlib let
        go of the interpreter while they work, so two cores are used without a second process.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

_END = object()


def ahead(items: Iterable[T], depth: int = 4) -> Iterator[T]:
    """The same items, of which at most `depth` are made before they are asked for."""
    line: queue.Queue[Any] = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: Any) -> bool:
        while not stopped.is_set():
            try:
                line.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def fill() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
            put((_END, None))
        except BaseException as e:
            put((_END, e))

    thread = threading.Thread(target=fill, daemon=True)
    thread.start()
    try:
        while True:
            item, error = line.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        stopped.set()
        thread.join()


class Behind:
    """`with Behind() as later: later(f, x)` runs f(x) in one other thread, in order; at most `depth` calls wait.

    What a call raised is raised by the next `later(…)` or at the end of the block; calls after it are not made.
    """

    def __init__(self, depth: int = 4) -> None:
        self._line: queue.Queue[Any] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._drain, daemon=True)

    def __call__(self, function: Callable[..., Any], *args: Any) -> None:
        """Queue one call; waits while too many do."""
        if self._error is not None:
            raise self._error
        self._line.put((function, args))

    def __enter__(self) -> Behind:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self._line.put(_END)
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error

    def _drain(self) -> None:
        while (item := self._line.get()) is not _END:
            if self._error is None:
                function, args = item
                try:
                    function(*args)
                except BaseException as e:
                    self._error = e
