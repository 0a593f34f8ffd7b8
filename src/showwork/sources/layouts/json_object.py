"""One big JSON object of objects, `{"<id>": {…}, …}`, read in pieces of a few megabytes.

Takes:  files that hold one such object each; the ids are no part of the rows and may repeat.
Leaves: rows; candidates are chosen by the hash of a row's bytes, so that only these are ever decoded.

Method: the file is cut at the last `} , "id" : {` of each piece, the piece is wrapped in braces and msgspec splits it into
undecoded values. A cut inside a row leaves braces open, so such a piece does not parse. The lengths of ids, values and
separators must add up to the piece, else an id stood there twice or the spacing is uneven. In these cases the entries are
walked one by one: exact, slower, and a row that is no JSON costs that row only.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import xxhash

from showwork.sources.identity import content_hash, draw_keys
from showwork.sources.layouts.rows import (
    GLANCE_ROWS,
    Bad,
    Candidate,
    Row,
    Source,
    chosen,
    estimate,
    missing_column,
    windows,
)
from showwork.sources.layouts.strict_json import RowDecoder, parse

PIECE_BYTES = 4 << 20
LONGEST_ROW_BYTES = 256 << 20
WINDOW_BYTES = 64 << 10
HEAD_ROWS = 200
HEAD_BYTES = 4096

_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_OPEN = re.compile(rb"(?:\xef\xbb\xbf)?\s*\{\s*")
_CUT = re.compile(rb'\}(\s*,\s*)"[^"\\]*"(\s*:\s*)\{')
_FLAT_ENTRY = re.compile(
    rb"\s*+" + _STRING + rb'\s*+:\s*+(\{(?:[^"{}\[\]]++|' + _STRING + rb")*+\})\s*+([,}])", re.DOTALL
)
_KEY = re.compile(rb"\s*+" + _STRING + rb"\s*+:\s*+", re.DOTALL)
_TOKEN = re.compile(_STRING + rb'|[\[\]{},]|"', re.DOTALL)

_ENTRIES = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

Values = Sequence[msgspec.Raw | bytes]
Spacing = tuple[int, int] | None
"""Bytes of `, ` between entries and of `: ` within them, as far as one cut has shown."""


class JsonObjectSource(Source):
    """Final. Columns not named are found in the first 200 rows; a later row with another is ``unknown_column``."""

    def __init__(
        self, name: str, files: Sequence[Path], columns: Sequence[str] | None, *, piece_bytes: int = PIECE_BYTES
    ) -> None:
        super().__init__(name, files)
        self._piece_bytes = piece_bytes
        self._digests: dict[Path, str] = {}
        head = [bytes(v) for v in itertools.islice(itertools.chain.from_iterable(self._blocks()), HEAD_ROWS)]
        found = [row for row in map(parse, head) if row and not isinstance(row, Bad)]
        if head and not found:
            raise ValueError(
                f"source {name!r}: the values in {self._listed()} are no JSON objects; "
                f'wanted {{"<id>": {{…}}, …}} with anything in them, check its layout'
            )
        names = list(dict.fromkeys(key for row in found for key in row))
        self.columns = tuple(names if columns is None else columns)
        if found:
            missing_column(name, self.columns, names, self._listed())
        self._decode = RowDecoder(self.columns, only=columns is None)

    def _read(self) -> Iterator[Row]:
        for block in self._blocks():
            for value in block:
                yield self._decode(bytes(value))

    def candidates(self, seed: int, below: Callable[[], int]) -> Iterator[Candidate]:
        """Rows whose key is below the limit; the others are never decoded, nor is their UTF-8 checked."""
        first = 0
        for block in self._blocks():
            keys = draw_keys(np.fromiter(map(content_hash, block), np.uint64, len(block)), seed)
            for i in chosen(keys, below()):
                yield Candidate(int(keys[i]), self.first_row + first + i, self._decode(bytes(block[i])))
            first += len(block)
        self._ended(first)

    def estimated_rows(self) -> int | None:
        """Boundaries between entries in a few windows, scaled up."""
        return self.num_rows or estimate(self.files, lambda data: len(_CUT.findall(data)))

    def glance(self) -> Iterator[list[Row]]:
        """The first whole entries of each window."""
        for data in itertools.chain.from_iterable(map(windows, self.files)):
            cuts = list(itertools.islice(_CUT.finditer(data), GLANCE_ROWS + 1))
            values = _split(b"{" + data[cuts[0].end(1) : cuts[-1].start() + 1] + b"}", None) if len(cuts) > 1 else None
            if values:
                yield [self._decode(bytes(value)) for value in values]

    def _blocks(self) -> Iterator[Values]:
        """The rows' bytes, a piece at a time; the next piece overwrites them, so whoever keeps a value must copy it."""
        for file in self.files:
            for offset, piece, spacing in self._pieces(file):
                values = _split(piece, spacing)
                if values is None:
                    yield from self._walk(file, offset)
                    break
                yield values

    def _seen(self, file: Path) -> str | None:
        return self._digests.get(file)

    def _pieces(self, file: Path) -> Iterator[tuple[int, memoryview, Spacing]]:
        """(offset of the first entry, entries in braces, their spacing); all pieces lie in one buffer, one after another.

        One buffer, because fresh megabytes for each piece cost more in page faults than reading and splitting them.
        """
        with file.open("rb", buffering=0) as f:
            size = os.fstat(f.fileno()).st_size
            head = f.read(HEAD_BYTES)
            opening = _OPEN.match(head)
            if opening is None:
                f.seek(0)
                raise ValueError(
                    f"source {self.name!r}: {file.name} starts with {f.read(20)!r}; "
                    f'layout json_object wants {{"<id>": {{…}}, …}}, check its layout'
                )
            offset, spacing = f.seek(opening.end()), None
            digest = xxhash.xxh3_128(head[:offset])
            buffer, end = bytearray(1 + self._piece_bytes), 1
            buffer[:1] = b"{"
            while True:
                count = f.readinto(memoryview(buffer)[end:])
                digest.update(memoryview(buffer)[end : end + count])
                end += count
                if not count or offset + end - 1 >= size:
                    break
                if cut := _last_cut(buffer, end):
                    spacing = _spacing(cut)
                    last, first = cut.start() + 1, cut.end(1)
                    buffer[last : last + 1] = b"}"  # where the comma or the space before it stood
                    yield offset, memoryview(buffer)[: last + 1], spacing
                    offset += first - 1
                    buffer[1 : 1 + end - first] = buffer[first:end]
                    end = 1 + end - first
                elif end > LONGEST_ROW_BYTES:
                    break
                elif end == len(buffer):
                    buffer = buffer + bytes(len(buffer))
            if offset + end - 1 >= size:
                self._digests[file] = digest.hexdigest()
            tail = bytes(memoryview(buffer)[:end]).rstrip()
            if tail != b"{}":
                yield offset, memoryview(tail), spacing or _spacing(_CUT.search(tail))

    def _walk(self, file: Path, offset: int) -> Iterator[Values]:
        """The rest of the file from an entry's first byte, entry by entry."""
        with file.open("rb", buffering=0) as f:
            f.seek(offset)
            rest, ended = b"", False
            while True:
                more = f.read(max(self._piece_bytes, len(rest)))
                rest += more
                at, values = 0, []
                while not ended and (entry := _entry(rest, at)):
                    value, at, last = entry
                    values.append(value)
                    ended = last == b"}"
                yield values
                rest, offset = rest[at:], offset + at
                if ended and rest.strip():
                    raise ValueError(
                        f"source {self.name!r}: {file.name} goes on after its closing brace at byte {offset:,}; "
                        f"one JSON object is wanted, check its layout"
                    )
                if (not more and not ended) or len(rest) > LONGEST_ROW_BYTES:
                    raise ValueError(
                        f"source {self.name!r}: {file.name} is cut off or no JSON from byte {offset:,} on "
                        f'(wanted "<id>": {{…}} and the closing brace); fetch or replace the file'
                    )
                if not more:
                    return


def _spacing(cut: re.Match[bytes] | None) -> Spacing:
    return cut and (len(cut.group(1)), len(cut.group(2)))


def _last_cut(data: bytearray, end: int) -> re.Match[bytes] | None:
    for start in (max(1, end - WINDOW_BYTES), 1):
        if cuts := list(_CUT.finditer(data, start, end)):
            return cuts[-1]
    return None


def _split(piece: bytes | memoryview, spacing: Spacing) -> Values | None:
    """The values of the entries in braces; None when they are no whole number of entries.

    >>> [bytes(v) for v in _split(b'{"1": {"a": 2}, "3": {}}', (2, 2))]
    [b'{"a": 2}', b'{}']
    """
    try:
        entries = _ENTRIES(piece)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    values = list(entries.values())
    if spacing:
        comma, colon = spacing
        length = 2 + sum(map(len, entries)) + sum(map(len, values)) + len(values) * (2 + colon + comma) - comma
        if length == len(piece):
            return values
    data, walked = bytes(piece), []
    at, last = 1, b","
    while last == b",":
        entry = _entry(data, at)
        if entry is None:
            return None
        value, at, last = entry
        walked.append(value)
    return walked


def _entry(data: bytes, at: int) -> tuple[bytes, int, bytes] | None:
    """(value, end, `,` or `}` behind it) of the entry that begins at `at`; None when its end is not in `data`.

    >>> _entry(b'"1": {"a": 2}, "3"', 0)
    (b'{"a": 2}', 14, b',')
    """
    if flat := _FLAT_ENTRY.match(data, at):
        return flat.group(1), flat.end(), flat.group(2)
    key = _KEY.match(data, at)
    if key is None:
        return None
    depth = 0
    for token in _TOKEN.finditer(data, key.end()):
        mark = token.group()
        if mark == b'"':
            return None
        if depth == 0 and mark in (b",", b"}"):
            return data[key.end() : token.start()].rstrip(), token.end(), mark
        depth += (mark in (b"{", b"[")) - (mark in (b"}", b"]"))
    return None
