from __future__ import annotations

import pytest

from showwork.foundation.durations import seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("9 hours", 32400),
        ("1 hour 30 minutes", 5400),
        ("90min", 5400),
        ("0.5 h", 1800),
        ("2 days", 172800),
        ("45s", 45),
    ],
)
def test_a_span_with_its_unit_is_seconds(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", [9, "9", "hours", "", "0 s", "9 hours and", "-9 hours", None, "9 months"])
def test_what_is_no_span_is_refused_with_examples(text):
    with pytest.raises(ValueError, match=r"expected a span of time above 0 with its unit, such as 9 hours"):
        seconds_of(text)
