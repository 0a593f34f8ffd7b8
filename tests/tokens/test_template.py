from __future__ import annotations

import jinja2

from showwork.tokens.template import (
    BOS,
    END_OF_TURN,
    chat_template,
    completion_segments,
    prompt_segments,
    render,
    template_digest,
)

GOLDEN = (
    "<bos><start_of_turn>user\nThink first.\n\nWhat is 2 + 2?<end_of_turn>\n<start_of_turn>model\n"
    "<reasoning>Two and two.\nFour.</reasoning>\n<answer>4</answer><end_of_turn>"
)


def test_an_example_renders_to_the_golden_bytes():
    segments = prompt_segments("Think first.", "What is 2 + 2?") + completion_segments("Two and two.\nFour.", "4")
    assert render(segments).encode() == GOLDEN.encode()


def test_only_the_completion_and_its_end_of_turn_are_trained():
    prompt, completion = prompt_segments("S", "Q"), completion_segments("T", "A")
    assert not any(s.trained for s in prompt)
    assert all(s.trained for s in completion)
    assert completion[-1].text == END_OF_TURN
    assert completion[-1].control
    assert [s.text for s in prompt + completion].count(BOS) == 1


def test_the_digest_changes_with_the_system_prompt_and_with_nothing_else():
    assert template_digest("a") == template_digest("a") != template_digest("b")


def test_the_chat_template_renders_the_same_text():
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(chat_template('Say "why", then\n{{ answer }}.'))
    asked = [{"role": "user", "content": "Q?"}]
    ours = render(prompt_segments('Say "why", then\n{{ answer }}.', "Q?"))
    assert template.render(messages=asked, bos_token=BOS, add_generation_prompt=True) == ours
    own = [{"role": "system", "content": "Other."}, *asked]
    assert template.render(messages=own, bos_token=BOS, add_generation_prompt=True) == render(
        prompt_segments("Other.", "Q?")
    )
