"""Example rows: whatever a source held, a page can show it."""

from __future__ import annotations

from showwork.page.examples import _row_example


def test_half_of_a_surrogate_pair_is_shown_as_its_escape() -> None:
    raw = '{"question": "why \\ud83d?", "answer": null}'
    row = {"source": "cot", "source_row": 7, "reason": "lone_surrogate", "detail": "answer", "raw": raw}
    fields = dict(_row_example(row)["fields"])
    assert fields["question"] == "why \\ud83d?"
    assert "".join(fields.values()).encode()
