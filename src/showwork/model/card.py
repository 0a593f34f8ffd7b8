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


TUNIX = """\
import os
import qwix
from flax import nnx
from tunix.models.gemma import model as gemma, params_safetensors  # Gemma 3: tunix.models.gemma3
from tunix.sft.checkpoint_manager import CheckpointManager

# BASE is a folder with {base}, CONFIG tunix's for it, such as gemma.ModelConfig.gemma2_2b()
model = params_safetensors.create_model_from_safe_tensors(BASE, CONFIG)
provider = qwix.LoraProvider({provider})
model = qwix.apply_lora_to_model(model, provider, rngs=nnx.Rngs(0), **model.get_model_input())
CheckpointManager(os.path.abspath(FOLDER + "/checkpoint")).maybe_restore(model, restore_only_lora_params=True)"""


def notice(*, base: str, kind: str) -> str:
    """The NOTICE that goes with weights: the Gemma terms' own sentence, and that and how files were changed."""
    changed = {
        "peft": "the files here are a low-rank adapter trained on it.",
        "tunix": "the files here are a low-rank adapter trained on it.",
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
    provider: Mapping[str, Any] | None = None,
) -> str:
    """README.md of an exported folder; `kind` is peft, merged, full or tunix, which has a `provider`."""
    if provider is not None:
        use = TUNIX.format(base=base, provider=", ".join(f"{key}={value!r}" for key, value in provider.items()))
        library, said = "tunix", "A low-rank adapter in the layout of google-tunix."
    else:
        use, library, said = _transformers_use(base, kind, dtype)
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
tags: [reasoning, chain-of-thought, sft{", lora" if kind in ("peft", "tunix") else ""}]
---

# {name}

{base}{f" at revision `{revision}`" if revision else ""}, trained to write its reasoning inside `<reasoning>` and its final
answer inside `<answer>`. {said}

```python
{use}
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


def _transformers_use(base: str, kind: str, dtype: str) -> tuple[str, str, str]:
    """(lines of code, library, what the folder holds)."""
    peft = kind == "peft"
    own = (
        f"model = AutoModelForCausalLM.from_pretrained({base!r})\nmodel = PeftModel.from_pretrained(model, FOLDER)"
        if peft
        else f"model = AutoModelForCausalLM.from_pretrained(FOLDER, dtype={dtype!r})"
    )
    use = f"""{"from peft import PeftModel" if peft else ""}
from transformers import AutoModelForCausalLM, AutoTokenizer

{own}
tokenizer = AutoTokenizer.from_pretrained(FOLDER)
ids = tokenizer.apply_chat_template(
    [{{"role": "user", "content": "What is 17 + 25?"}}], add_generation_prompt=True, return_tensors="pt", return_dict=True
)
print(tokenizer.decode(model.generate(**ids, max_new_tokens=512, do_sample=False)[0]))"""
    said = "A low-rank adapter in the layout of PEFT." if peft else "Whole weights."
    return use.lstrip(), "peft" if peft else "transformers", said
