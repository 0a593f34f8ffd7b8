"""One row's JSON bytes to columns, fast when all is well and exact about what is wrong when not.

Takes:  the bytes of one JSON object.
Leaves: its columns, or a Bad row: bad_utf8, bad_json, not_an_object, duplicate_key, lone_surrogate, unknown_column.

msgspec decodes the good rows; what it refuses, or what may hold a key twice (it would keep the last), goes to Python's own
parser with every check on. (msgspec names a lone surrogate "truncated" and Python's parser lets it through: hence two.)
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from showwork.foundation.nesting import TOO_DEEP, too_deep
from showwork.sources.layouts.rows import Bad, Columns, Row, as_text, bad

_UNNAMEABLE = re.compile(r'["\\\x00-\x1f]')


class _DuplicateKey(Exception):
    pass


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [k for k, _ in pairs]
        raise _DuplicateKey(next(k for i, k in enumerate(names) if k in names[:i]))
    return made


def _constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(number: str) -> float:
    """1e999 is JSON, but would be read as infinity, which is none."""
    if math.isinf(value := float(number)):
        raise ValueError(f"{number[:40]} is a number out of range")
    return value


def parse(raw: bytes) -> dict[str, Any] | Bad:
    """The object in `raw`, or what is wrong with it."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as e:
        return bad("bad_utf8", f"byte 0x{raw[e.start]:02x} at {e.start}: {e.reason}", raw)
    if too_deep(raw):
        return bad("bad_json", TOO_DEEP, raw)
    try:
        found = json.loads(text, object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_finite)
    except _DuplicateKey as e:
        return bad("duplicate_key", str(e), raw)
    except ValueError as e:
        return bad("bad_json", str(e), raw)
    if not isinstance(found, dict):
        return bad("not_an_object", f"{type(found).__name__}: {text}", raw)
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError as e:
        return bad("lone_surrogate", f"U+{ord(e.object[e.start]):04X}", raw)
    return found


class RowDecoder:
    """Decodes rows to exactly `columns`; `only` says that a further column is an error and not a choice."""

    def __init__(self, columns: Sequence[str], *, only: bool) -> None:
        self._columns = tuple(columns)
        self._only = only
        self._quoted = [json.dumps(c, ensure_ascii=False).encode() for c in columns]
        self._exactly = any(_UNNAMEABLE.search(c) for c in columns)  # msgspec's fields cannot have such names
        if self._exactly:
            return
        fields = [(f"c{i}", str | None, None) for i in range(len(columns))]
        struct = msgspec.defstruct(
            "_Row",
            fields,
            rename={f"c{i}": c for i, c in enumerate(columns)},
            forbid_unknown_fields=only,
            gc=False,
        )
        self._decode = msgspec.json.Decoder(struct).decode
        self._astuple = msgspec.structs.astuple

    def __call__(self, raw: bytes) -> Row:
        """The columns of one row, or Bad."""
        if self._exactly:
            return self._exact(raw)
        for quoted in self._quoted:
            if raw.count(quoted) > 1:
                return self._exact(raw)
        if not self._only and too_deep(raw):  # it may be in a column that nobody reads
            return self._exact(raw)
        try:
            return dict(zip(self._columns, self._astuple(self._decode(raw)), strict=True))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._exact(raw)

    def _exact(self, raw: bytes) -> Row:
        found = parse(raw)
        if isinstance(found, Bad):
            return found
        unknown = [c for c in found if c not in self._columns]
        if unknown and self._only:
            return bad("unknown_column", unknown[0], raw)
        row: Columns = {c: as_text(found.get(c)) for c in self._columns}
        return row
