"""Files of every layout with bytes lost, changed, doubled or put in, by seed, and what must hold of what is read from them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

from sources.written import ROWS, WRITERS

from showwork.sources.layouts import Bad, open_source

LAYOUTS = ("csv", "jsonl", "json_object", "parquet")
PIECES = (
    b"\0", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\\ud800", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\n", b"\r", b"\r\n", b"NaN",
    b"1e999", b"null", b'{"a":' * 300, b"[" * 3000, b'"' * 7, b"PAR1", b"9" * 5000, b'"prompt": "again", ', b"\xe2\x80\xae",
)  # fmt: skip


def originals(folder: Path) -> dict[str, bytes]:
    """A whole file of each layout."""
    return {layout: WRITERS[layout](folder / f"whole.{layout}", ROWS[:20]).read_bytes() for layout in LAYOUTS}


def cases(seed: int, count: int, whole: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """`count` (layout, content of a file)."""
    chance = Random(seed)
    for _ in range(count):
        layout = chance.choice(LAYOUTS)
        content = bytearray(whole[layout])
        for _ in range(chance.choice((1, 1, 2, 4))):
            at = chance.randrange(len(content) + 1)
            act = chance.randrange(5)
            if act == 0:
                del content[at:]
            elif act == 1:
                del content[at : at + chance.randrange(1, 40)]
            elif act == 2:
                content[at:at] = chance.choice(PIECES)
            elif act == 3 and at < len(content):
                content[at] ^= 1 << chance.randrange(8)
            else:
                content[at:at] = content[chance.randrange(len(content) + 1) :][: chance.randrange(1, 200)]
        yield layout, bytes(content)


def check(layout: str, content: bytes, file: Path) -> str:
    """ "refused" with a sentence that names the source, or "read": every row counted once, its columns or a typed reason.

    Raises: AssertionError where a row is neither; whatever else a reader should not raise.
    """
    file.write_bytes(content)
    refusal: ValueError | None = None
    try:
        source = open_source(layout, [file], name="src")
        rows = list(source.rows())
    except ValueError as error:
        refusal = error
    if refusal is not None:
        assert type(refusal) is ValueError, repr(refusal)
        assert str(refusal).startswith("source 'src': "), refusal
        return "refused"
    assert [number for number, _ in rows] == list(range(len(rows)))
    assert source.num_rows == len(rows)
    for _, row in rows:
        if isinstance(row, Bad):
            assert row.reason in REASONS, row
        else:
            assert tuple(row) == source.columns
            for value in row.values():
                assert value is None or value.encode("utf-8") is not None  # no half of a surrogate pair is let in
    return "read"


REASONS = {
    "bad_utf8", "lone_surrogate", "bad_json", "duplicate_key", "not_an_object", "bad_csv", "wrong_width", "unknown_column",
}  # fmt: skip
