"""One parquet file out of row groups that were encoded apart, and so on several cores: the bytes that one writer leaves.

Takes:  tables, each of which is to be one row group, encoded by pyarrow as a small file of its own.
Leaves: the row groups' bytes, to be appended to each other, and the footer that belongs under them.

Pages do not say where they lie; the footer does, in Thrift's compact protocol. It is read into plain lists, the places are moved,
and it is written again. tests/foundation/test_stitched.py holds the result equal, byte for byte, to what one writer makes.

Source: parquet-format's parquet.thrift; Thrift's compact protocol specification.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

MAGIC = b"PAR1"
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTS = frozenset({4, 5, 6})
_NUM_ROWS, _ROW_GROUPS = 3, 4  # of FileMetaData
_COLUMNS, _START, _ORDINAL = 1, 5, 7  # of RowGroup
_META = 3  # of ColumnChunk
_PLACES = frozenset({9, 10, 11})  # of ColumnMetaData: where data, index and dictionary pages begin
_ROWS_OF_GROUP = 3

Fields = list[list[Any]]
"""A struct: [field id, type, value] of each field, in order."""
Writer = Callable[[pa.BufferOutputStream], pq.ParquetWriter]


class Encoded(NamedTuple):
    """One row group: its bytes, and its entry in the footer as if it stood alone in a file."""

    body: memoryview
    entry: Fields


def encode(table: pa.Table, writer: Writer) -> Encoded:
    """The one row group of `table`, by a new writer that `writer` opens on a buffer."""
    whole = _file(writer, table)
    size = int.from_bytes(whole[-8:-4], "little")
    (groups,) = (value for name, _, value in _Reader(whole[-8 - size : -8]).struct() if name == _ROW_GROUPS)
    _, (entry,) = groups
    return Encoded(whole[len(MAGIC) : -8 - size], entry)


def footer(writer: Writer, groups: list[Fields]) -> bytes:
    """What stands under row groups whose entries were moved to where they lie."""
    whole = _file(writer, None)
    size = int.from_bytes(whole[-8:-4], "little")
    fields = _Reader(whole[-8 - size : -8]).struct()
    for field in fields:
        if field[0] == _NUM_ROWS:
            field[2] = sum(value for group in groups for name, _, value in group if name == _ROWS_OF_GROUP)
        if field[0] == _ROW_GROUPS:
            field[2] = (_STRUCT, groups)
    out = bytearray()
    _put_struct(out, fields)
    return bytes(out) + len(out).to_bytes(4, "little") + MAGIC


def moved(entry: Fields, by: int, ordinal: int) -> Fields:
    """The entry of a row group that lies `by` bytes further back, as the one of this number."""
    for field in entry:
        if field[0] == _START:
            field[2] += by
        elif field[0] == _ORDINAL:
            field[2] = ordinal
        elif field[0] == _COLUMNS:
            for chunk in field[2][1]:
                for name, _, value in chunk:
                    for place in value if name == _META else ():
                        if place[0] in _PLACES:
                            place[2] += by
    return entry


def _file(writer: Writer, table: pa.Table | None) -> memoryview:
    sink = pa.BufferOutputStream()
    with writer(sink) as out:
        if table is not None:
            out.write_table(table, row_group_size=table.num_rows)
    return memoryview(sink.getvalue())


class _Reader:
    """Thrift's compact protocol, read into [field id, type, value]; a list is (type of its elements, elements)."""

    def __init__(self, data: memoryview) -> None:
        self._data, self._at = bytes(data), 0

    def struct(self) -> Fields:
        fields: Fields = []
        name = 0
        while head := self._byte():
            kind = head & 15
            name = name + (head >> 4) if head >> 4 else self._zigzag()
            fields.append([name, kind, kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind)])
        return fields

    def _value(self, kind: int) -> Any:
        if kind in _INTS:
            return self._zigzag()
        if kind == _STRUCT:
            return self.struct()
        if kind == _BINARY:
            return self._bytes(self._number())
        if kind in (_LIST, _SET):
            head = self._byte()
            size = head >> 4 if head >> 4 < 15 else self._number()
            return head & 15, [self._value(head & 15) for _ in range(size)]
        if kind in (_TRUE, _FALSE, _BYTE):
            return self._byte()
        if kind == _DOUBLE:
            return self._bytes(8)
        raise ArithmeticError(f"a parquet footer holds a value of Thrift's type {kind}, which the format has not")

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _bytes(self, size: int) -> bytes:
        self._at += size
        return self._data[self._at - size : self._at]

    def _number(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 128:
            value |= (byte & 127) << shift
            shift += 7
        return value | byte << shift

    def _zigzag(self) -> int:
        value = self._number()
        return (value >> 1) ^ -(value & 1)


def _put_struct(out: bytearray, fields: Fields) -> None:
    last = 0
    for name, kind, value in fields:
        if kind in (_TRUE, _FALSE):
            kind = _TRUE if value else _FALSE
        if 0 < name - last < 16:
            out.append((name - last) << 4 | kind)
        else:
            out.append(kind)
            _put_number(out, name << 1)
        if kind not in (_TRUE, _FALSE):
            _put(out, kind, value)
        last = name
    out.append(0)


def _put(out: bytearray, kind: int, value: Any) -> None:
    if kind in _INTS:
        _put_number(out, value << 1 if value >= 0 else (-value << 1) - 1)
    elif kind == _STRUCT:
        _put_struct(out, value)
    elif kind == _BINARY:
        _put_number(out, len(value))
        out += value
    elif kind in (_LIST, _SET):
        inner, values = value
        out.append(min(len(values), 15) << 4 | inner)
        if len(values) >= 15:
            _put_number(out, len(values))
        for one in values:
            _put(out, inner, one)
    elif kind == _DOUBLE:
        out += value
    else:
        out.append(value)


def _put_number(out: bytearray, value: int) -> None:
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
