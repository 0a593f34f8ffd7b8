"""The columns of every table that one stage leaves and another reads."""

from __future__ import annotations

import pyarrow as pa

_ORIGIN = [("source", pa.string()), ("source_row", pa.int64()), ("row_id", pa.string())]
_TEXTS = [("question", pa.large_string()), ("trace", pa.large_string()), ("answer", pa.large_string())]

RECORD = pa.schema([("record_id", pa.string()), ("question_id", pa.string()), *_ORIGIN, *_TEXTS])
"""One record: `record_id` hashes question, trace and answer, `question_id` the normalized question (32 hex each)."""

REJECTED = pa.schema([*_ORIGIN, ("reason", pa.string()), ("detail", pa.string()), ("raw", pa.large_string())])
"""One row that became no record: the typed reason, the value that failed (at most 200 characters), the row as JSON."""

DROPPED = pa.schema([*_ORIGIN, ("reason", pa.string()), ("detail", pa.string())])
"""One row that a sample looked at and left out."""

PROMPT = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("record_id", pa.string()),
        ("source", pa.string()),
        ("source_row", pa.int64()),
        *_TEXTS,
    ]
)
"""One held-out question with its gold trace and answer; `prompt_id` is the question's id."""

LEDGER = pa.schema(
    [
        ("record_id", pa.string()),
        ("source", pa.string()),
        ("source_row", pa.int64()),
        ("packed_row", pa.int32()),
        ("segment", pa.int32()),
        ("num_tokens", pa.int32()),
        ("tokens_cut", pa.int32()),
        ("reason", pa.string()),
    ]
)
"""Where a record went: packed row and segment (-1 and a reason when it was dropped), its tokens, the tokens cut."""
