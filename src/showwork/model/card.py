"""The card and the notice of an exported model.

*Takes* what was trained, from what, and what the certificate found. *Leaves* the texts of README.md and NOTICE.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

NOTICE = """\
Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms

This folder holds a Model Derivative of Gemma. It was modified: {changed}
The base is {base}. Where that base is not a Gemma of Google, its own terms stand in place of the sentence above.
"""


def notice(*, base: str, kind: str) -> str:
    """The NOTICE that goes with weights: the Gemma terms' own sentence, and that and how files were changed."""
    changed = {
        "peft": "the files here are a low-rank adapter trained on it.",
        "merged": "the weights in model.safetensors are the base's with a trained low-rank adapter added to them.",
        "full": "all weights in model.safetensors were trained further.",
    }[kind]
    return NOTICE.format(changed=changed, base=base)


def card(
    *,
    name: str,
    base: str,
    revision: str | None,
    kind: str,
    dtype: str,
    system_prompt: str,
    train: Mapping[str, Any],
    counts: Mapping[str, Any],
    certificate: Mapping[str, Any],
) -> str:
    """README.md of an exported folder; `kind` is peft, merged or full."""
    library = "peft" if kind == "peft" else "transformers"
    own = (
        f"model = AutoModelForCausalLM.from_pretrained({base!r})\nmodel = PeftModel.from_pretrained(model, FOLDER)"
        if kind == "peft"
        else f"model = AutoModelForCausalLM.from_pretrained(FOLDER, dtype={dtype!r})"
    )
    imports = "from peft import PeftModel\n" if kind == "peft" else ""
    recipe = "\n".join(f"| {key} | `{json.dumps(value, sort_keys=True)}` |" for key, value in sorted(train.items()))
    trained = "\n".join(f"| {key} | {value:,} |" for key, value in sorted(counts.items()) if isinstance(value, int))
    found = "\n".join(
        f"| {what} | {row['max_error']:.2e} | {row['bound']:.2e} | {row['top1_agreement']:.2%} |"
        for what, row in certificate.items()
    )
    return f"""---
base_model: {base}
library_name: {library}
license: gemma
pipeline_tag: text-generation
tags: [reasoning, chain-of-thought, sft{", lora" if kind == "peft" else ""}]
---

# {name}

{base}{f" at revision `{revision}`" if revision else ""}, trained to write its reasoning inside `<reasoning>` and its final
answer inside `<answer>`. {"A low-rank adapter in the layout of PEFT." if kind == "peft" else "Whole weights."}

```python
{imports}from transformers import AutoModelForCausalLM, AutoTokenizer

{own}
tokenizer = AutoTokenizer.from_pretrained(FOLDER)
ids = tokenizer.apply_chat_template(
    [{{"role": "user", "content": "What is 17 + 25?"}}], add_generation_prompt=True, return_tensors="pt", return_dict=True
)
print(tokenizer.decode(model.generate(**ids, max_new_tokens=512, do_sample=False)[0]))
```

The chat template puts the system prompt of training before the question, in the user's turn, because Gemma has no system
role; a `system` message replaces it:

```
{system_prompt}
```

## Training

| setting | value |
|---|---|
{recipe}

| counted | |
|---|--:|
{trained}

## What was exported is what was trained

Each form was read back from disk and its logits compared with those of base and adapter in float32, on held-out questions.

| form | largest difference of a logit | bound | same most likely token |
|---|--:|--:|--:|
{found}

See NOTICE for the terms of the base.
"""
