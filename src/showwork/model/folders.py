"""The JSON files that stand beside exported weights, as transformers and peft read them.

*Takes* what was trained and the base's own files as dicts. *Leaves* the dicts of adapter_config.json, config.json,
generation_config.json and tokenizer_config.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SPECIAL = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}


def adapter_config(facts: Mapping[str, Any], *, base: str, revision: str | None, dropout: float) -> dict[str, Any]:
    """adapter_config.json; `facts` are the rank, alpha, rslora and targets of the session's manifest."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "revision": revision,
        "r": facts["rank"],
        "lora_alpha": facts["alpha"],
        "lora_dropout": dropout,
        "target_modules": sorted(name.split(".")[1] for name in facts["targets"]),
        "use_rslora": facts["rslora"],
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "modules_to_save": None,
    }


def merged_config(base: Mapping[str, Any], *, dtype: str, vocab: int) -> dict[str, Any]:
    """config.json of whole weights: the base's, with the dtype and the vocabulary rows that the file has.

    Of a Gemma 3 with a vision tower the text model alone is handed on.
    """
    config = dict(base)
    if "text_config" in config:
        config = {**config["text_config"], "model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"]}
    config.pop("_name_or_path", None)
    return {**config, "dtype": dtype, "torch_dtype": dtype, "vocab_size": vocab}


def generation_config(control_ids: Mapping[str, int]) -> dict[str, Any]:
    """generation_config.json: generation ends at the end of the document or of the turn."""
    return {
        "bos_token_id": control_ids["<bos>"],
        "eos_token_id": [control_ids["<eos>"], control_ids["<end_of_turn>"]],
        "pad_token_id": control_ids["<pad>"],
        "do_sample": False,
    }


def tokenizer_config(base: Mapping[str, Any] | None, chat_template: str) -> dict[str, Any]:
    """tokenizer_config.json: the base's, if it has one, under the chat template of training."""
    said = {"tokenizer_class": "PreTrainedTokenizerFast"} if base is None else dict(base)
    return {**said, **SPECIAL, "chat_template": chat_template}
