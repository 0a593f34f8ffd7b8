"""The one place that says how a question, a trace and an answer become a sequence of text pieces.

Takes   a system prompt, a question and, for training, a trace and an answer (all plain text).
Leaves  a list of segments: text, whether it is a control token, whether the model is trained to write it.
        tokens/tokenizer.py turns segments into ids; training, evaluation, rollouts and export all start here.
Source  Gemma's turn format (google/gemma-2-2b-it, chat template); the system prompt stands in the user's turn because
        Gemma has no system role. Prompt and completion are separate segments, so no mask is ever searched for in ids.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

BOS = "<bos>"
START_OF_TURN = "<start_of_turn>"
END_OF_TURN = "<end_of_turn>"


@dataclass(frozen=True)
class Segment:
    """A piece of text. `control`: it is exactly one control token. `trained`: its tokens are targets of the loss."""

    text: str
    trained: bool = False
    control: bool = False


def prompt_segments(system_prompt: str, question: str) -> list[Segment]:
    """The untrained part, up to where the model begins to write.

    >>> [s.text for s in prompt_segments("Think.", "2 + 2?")]
    ['<bos>', '<start_of_turn>', 'user\\nThink.\\n\\n2 + 2?', '<end_of_turn>', '\\n', '<start_of_turn>', 'model\\n']
    """
    said = f"{system_prompt}\n\n{question}" if system_prompt else question
    return [
        Segment(BOS, control=True),
        Segment(START_OF_TURN, control=True),
        Segment(f"user\n{said}"),
        Segment(END_OF_TURN, control=True),
        Segment("\n"),
        Segment(START_OF_TURN, control=True),
        Segment("model\n"),
    ]


def completion_segments(trace: str, answer: str) -> list[Segment]:
    """The trained part: what the model is to write, and the token by which it stops.

    >>> [s.text for s in completion_segments("Two and two.", "4")]
    ['<reasoning>Two and two.</reasoning>\\n<answer>4</answer>', '<end_of_turn>']
    """
    return [
        Segment(completion_text(trace, answer), trained=True),
        Segment(END_OF_TURN, trained=True, control=True),
    ]


def completion_text(trace: str, answer: str) -> str:
    """What a perfect model writes before it stops; the form that the strict parser accepts."""
    return f"<reasoning>{trace}</reasoning>\n<answer>{answer}</answer>"


def render(segments: list[Segment]) -> str:
    """The segments as one string, for people and for the golden test."""
    return "".join(segment.text for segment in segments)


def template_digest(system_prompt: str) -> str:
    """A digest that changes when anything in the rendering changes: rows packed under another template are refused."""
    segments = prompt_segments(system_prompt, "{question}") + completion_segments("{trace}", "{answer}")
    shown = json.dumps([[s.text, s.trained, s.control] for s in segments], ensure_ascii=False)
    return hashlib.sha256(shown.encode()).hexdigest()


def chat_template(system_prompt: str) -> str:
    """The same rendering as a Jinja chat template in the form that Hugging Face tokenizers carry.

    A user's message is rendered under the system prompt that the model was trained with, unless the conversation brings
    its own `system` message. The template adds `<bos>` itself: tokenize with `add_special_tokens=False`.
    """
    system = json.dumps(system_prompt, ensure_ascii=False)
    return (
        "{{ bos_token }}"
        f"{{% set said = namespace(system={system}) %}}"
        "{% for message in messages %}"
        "{% if message['role'] == 'system' %}{% set said.system = message['content'] %}"
        "{% else %}"
        "{% set role = 'model' if message['role'] in ('assistant', 'model') else 'user' %}"
        "{{ '<start_of_turn>' + role + '\\n' }}"
        "{% if role == 'user' and said.system %}{{ said.system + '\\n\\n' }}{% set said.system = '' %}{% endif %}"
        "{{ message['content'] + '<end_of_turn>\\n' }}"
        "{% endif %}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
    )
