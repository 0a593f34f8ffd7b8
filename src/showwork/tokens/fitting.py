"""One record as one example that fits into a packed row; training and the held-out loss fit records in the same way.

Takes   a record, its encoded prompt, the template's limits.
Leaves  ids and mask of prompt and completion, the trace trimmed where the whole is too long, or the reason why it cannot be.
Source  tokens/overlong.py says what is cut.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from showwork.tokens.overlong import OVERLONG, trim_trace
from showwork.tokens.template import completion_segments
from showwork.tokens.tokenizer import Encoded, Encoder


def joined(prompt: Encoded, completion: Encoded) -> Encoded:
    """One example: the prompt's ids and then the completion's."""
    return Encoded(
        np.concatenate([prompt.ids, completion.ids]),
        np.concatenate([prompt.trained, completion.trained]),
        prompt.num_neutralized + completion.num_neutralized,
    )


def shortened(
    record: dict[str, Any], prompt: Encoded, encoder: Encoder, template: dict[str, Any]
) -> tuple[Encoded | None, str]:
    """The example with a shorter trace, or the reason why there is none.

    Args:
      record: "trace" and "answer" as text.
      template: "max_seq_length" and "min_trace_tokens".
    """
    empty, answered = encoder.encode_many([completion_segments("", ""), completion_segments("", record["answer"])])
    room = template["max_seq_length"] - len(prompt)
    count_tokens = functools.cache(lambda text: encoder.count_tokens([text])[0])
    token_starts = functools.cache(encoder.token_starts)
    # A trace's tokens beside its tags are not exactly its tokens alone: ask for less until the whole example fits.
    for slack in range(9):
        trimmed = trim_trace(
            record["trace"],
            room=room - len(answered) - slack,
            room_without_answer=room - len(empty),
            min_trace_tokens=template["min_trace_tokens"],
            count_tokens=count_tokens,
            token_starts=token_starts,
        )
        if trimmed.trace is None:
            return None, trimmed.reason
        example = joined(prompt, encoder.encode(completion_segments(trimmed.trace, record["answer"])))
        if len(example) <= template["max_seq_length"]:
            return example, ""
    return None, OVERLONG
