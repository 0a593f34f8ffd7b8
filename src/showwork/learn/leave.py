"""What a finished training leaves: the adapter (or all weights), its facts, the histories. Each whole or absent.

Takes   the trained tree and the work folder with history.jsonl and timing.jsonl.
Leaves  adapter.safetensors under PEFT's names (all weights under the base's), adapter.json, history.jsonl, timing.jsonl.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file

from showwork.foundation.files import atomic, write_json
from showwork.learn.session import Session
from showwork.learn.start import adapter_facts
from showwork.model.lora import to_peft
from showwork.model.params import save_params


def leave_trained(trained: Any, made: Session, home: Path, *, adapter: Path, history: Path) -> list[dict[str, Any]]:
    """Writes the files; returns the lines of the history."""
    with atomic(adapter) as temporary:
        if made.full:
            with tempfile.TemporaryDirectory(dir=home) as folder:
                shutil.move(save_params(folder, trained, made.cfg), temporary)
        else:
            save_file(to_peft(trained, made.cfg), temporary)
    write_json(adapter.with_suffix(".json"), adapter_facts(made))
    for source, target in (("history.jsonl", history), ("timing.jsonl", history.with_name("timing.jsonl"))):
        with atomic(target) as temporary:
            shutil.copyfile(home / source, temporary)
    return [json.loads(line) for line in history.read_text("utf-8").splitlines()]
