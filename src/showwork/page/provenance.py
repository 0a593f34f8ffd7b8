"""Where everything comes from, and how to use what came out.

*Takes* the manifests that the page is made from, with their digests, and the export's certificate. *Leaves* tables of
sources and files, the settings of every stage as text, and code to copy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from showwork.page.cells import cell, column, number_cell, size


@dataclass(frozen=True)
class Read:
    """One manifest that the report read: its path as given, its content, sha256 of its file."""

    path: str
    manifest: dict[str, Any]
    sha256: str


def provenance_section(
    reads: Sequence[Read], licenses: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Tables of pinned sources and of every file, and the settings that each stage was given."""
    downloads = [r.manifest for r in reads if r.manifest.get("stage") == "download"]
    sources = [_source_row(m, licenses) for m in downloads]
    files = []
    for read in reads:
        manifest = read.manifest
        label = f"{manifest.get('stage', '')} {manifest.get('name', '')}".strip()
        files.append([cell(read.path, under=label), cell(""), cell(read.sha256)])
        if manifest.get("stage") == "download":
            continue  # many blobs; their digests stand in the manifest just named
        for entry in manifest.get("files", {}).values():
            files.append([cell(entry["name"], under=label), number_cell(entry["bytes"]), cell(entry["sha256"])])
    stages = {
        f"{r.manifest['stage']} {r.manifest['name']}": r.manifest["settings"]
        for r in reads
        if r.manifest.get("settings")
    }
    commit = settings.get("commit")
    unpinned = [m["name"] for m in downloads if m.get("hub") and not m.get("revision")]
    warnings = [f"{source}: {entry['note']}" for source, entry in licenses.items() if entry.get("note")]
    warnings += [f"{name} was downloaded without a pinned revision." for name in unpinned]
    return {
        "sentence": (
            "Each file is named by the digest of its bytes; a stage reads a file only after checking it."
            + (f" The code is at commit {commit}." if commit else "")
        ),
        "warnings": warnings,
        "source_columns": [
            column("Sample"),
            column("Source"),
            column("Revision"),
            column("Licence"),
            column("Files", number=True),
        ],
        "sources": sources,
        "columns": [column("File"), column("Bytes", number=True), column("sha256")],
        "files": files,
        "config": json.dumps(stages, indent=1, sort_keys=True, ensure_ascii=False),
    }


def _source_row(manifest: Mapping[str, Any], licenses: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    settings = manifest["settings"]
    source = settings.get("source") or "base"
    where = manifest.get("hub") or settings.get("path") or "–"
    license_ = licenses.get(source, {}).get("license") or (
        "Gemma terms" if source == "base" and manifest.get("hub") else "–"
    )
    counts = manifest["counts"]
    return [
        cell(manifest["name"]),
        cell(where, under=source),
        cell(manifest.get("revision") or "local files"),
        cell(license_),
        number_cell(counts["files"], size(counts["bytes"])),
    ]


def export_section(certificate: Mapping[str, Any] | None, folder: str, base: str) -> dict[str, Any] | None:
    """What was exported, how exactly it agrees, and the lines that load it."""
    if certificate is None:
        return None
    formats = certificate["formats"]
    rows = [
        [
            cell(what, under=f"{folder}/{form}"),
            cell(f"{entry['max_error']:.1e}", entry["max_error"]),
            cell(f"{entry['bound']:.1e}", entry["bound"]),
            cell(f"{100 * entry['top1_agreement']:.2f} %", entry["top1_agreement"]),
            number_cell(entry["positions"]),
        ]
        for form, checks in formats.items()
        for what, entry in checks.items()
    ]
    heads = ("Largest logit difference", "Bound", "Same most likely token", "Positions compared")
    return {
        "sentence": (
            "Each format was read back from disk and its logits on held-out questions compared with "
            f"{certificate['compared_with']}; above the bound the job would have failed."
        ),
        "columns": [column("Format"), *(column(head, number=True) for head in heads)],
        "rows": rows,
        "uses": [(title, text) for name, title, text in _uses(folder, base) if name in formats],
    }


def _uses(folder: str, base: str) -> list[tuple[str, str, str]]:
    """The chat template that was exported brings the system prompt of training with it."""
    ask = (
        'chat = [{"role": "user", "content": "Why do leaves fall?"}]\n'
        'inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)\n'
        "print(tokenizer.decode(model.generate(**inputs, max_new_tokens=1024)[0]))"
    )
    return [
        (
            "peft",
            "The adapter, with PEFT",
            "from peft import PeftModel\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
            f'tokenizer = AutoTokenizer.from_pretrained("{folder}/peft")\n'
            f'base = AutoModelForCausalLM.from_pretrained("{base}")\n'
            f'model = PeftModel.from_pretrained(base, "{folder}/peft")\n{ask}',
        ),
        (
            "merged",
            "The merged model, with transformers",
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
            f'tokenizer = AutoTokenizer.from_pretrained("{folder}/merged")\n'
            f'model = AutoModelForCausalLM.from_pretrained("{folder}/merged")\n{ask}',
        ),
    ]
