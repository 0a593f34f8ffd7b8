"""Everything that a finished session leaves behind, invented but consistent: what the report reads.

Rows in = rows out + losses at every stage, as in a real run. One record is full of HTML and script.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa

from showwork.foundation.files import write_json
from showwork.foundation.manifest import write_manifest
from showwork.foundation.schema import DROPPED, LEDGER, RECORD, REJECTED
from showwork.foundation.tables import write_table
from showwork.learn.grade import answers_match, grade
from showwork.learn.measures import ANSWERED, GENERATION, TASKS, measures, measures_of_questions

OWN_TAG = "<b>hard"
HOSTILE = "</script><script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\"><b>bold</b> & {{ 7*7 }}"
NAMES = ("Ana", "Bo", "Cleo", "Cora", "Dan", "Eli", "Hal", "Ida", "Mia", "Noor", "Rob", "Tom", "Uma", "Vera")
SAMPLES = {
    "raiden_deepseek_r1": ("raiden", "full", 700),
    "openo1_sft_english_20k": ("openo1", "random", 300),
    "cot_collection_10k": ("cot_collection", "reservoir", 300),
    "glaiveai_30k": ("glaive", "first_n", 330),
}
REASONS = {
    "raiden": ("no_close", "several_blocks", "empty_answer"),
    "openo1": ("no_answer_close",),
    "glaive": ("no_close", "nested"),
}
LENGTH = 160
REMOVED = pa.schema(
    [
        ("sample", pa.string()), ("source", pa.string()), ("source_row", pa.int64()), ("row_id", pa.string()),
        ("record_id", pa.string()), ("question_id", pa.string()), ("reason", pa.string()), ("duplicate_of", pa.string()),
        ("similarity", pa.float64()),
    ]
)  # fmt: skip


def settings(session: str = "session1") -> dict[str, Any]:
    """The report's slice of the configuration."""
    note = "the card says cc-by-4.0, the authors' repository says non-commercial"
    licenses = {s: {"license": "apache-2.0", "note": None, "hub": f"hub/{s}"} for s, _, _ in SAMPLES.values()}
    licenses["cot_collection"] = {"license": "cc-by-4.0", "note": note, "hub": "kaist-ai/CoT-Collection"}
    return {
        "name": session, "mix": session, "samples": {k: v[0] for k, v in SAMPLES.items()}, "start_from": "base", "max_seq_length": LENGTH,
        "system_prompt": "Think step by step.", "base": "google/gemma-2-2b-it", "licenses": licenses,
    }  # fmt: skip


def chain(random: Random) -> tuple[str, str, str]:
    """A question of the kin family, its trace and its answer."""
    names = random.sample(NAMES, 5)
    facts = [f"{a} serves {b}" for a, b in pairwise(names)]
    hops = random.randint(2, 4)
    question = f"{'. '.join(random.sample(facts, 4))}. Whom does {names[0]} serve {hops} steps up?"
    return question, " ".join(f"{fact}." for fact in facts[:hops]), names[hops]


def finish_session(folder: Path, *, num_prompts: int = 40, steps: int = 60, session: str = "session1") -> list[Path]:
    """Write all files under `folder`/results and return the manifests, as the report's --inputs."""
    random, results = Random(1), folder / "results"
    manifests, branches, train, removed = [], {}, [], []
    for name, (source, method, taken) in SAMPLES.items():
        paths, records, branch = _sample(results, name, source, method, taken, random)
        manifests += paths
        branches[name] = branch
        for record in records:
            reason = _removal(random)
            if reason:
                branch["removed"][reason] += 1
                removed.append(_removed(name, record, reason, train[-1]["record_id"] if train else ""))
            else:
                train.append(record)
        branch["train"] = branch["records"] - sum(branch["removed"].values())
    mix = results / "mix" / session
    write_table(mix / "train.parquet", RECORD, [train])
    write_table(mix / "removed.parquet", REMOVED, [removed])
    write_json(mix / "disjoint.json", {"session": session})
    write_manifest(
        mix / "manifest.json", stage="mix", name=session, settings={"name": session, "seed": 42}, inputs={},
        files={"train": mix / "train.parquet", "removed": mix / "removed.parquet", "disjoint": mix / "disjoint.json"},
        counts={"records": len(train) + len(removed), "train": len(train), "samples": branches,
                "removed": dict(Counter(r["reason"] for r in removed))},
    )  # fmt: skip
    pack = _pack(results / "pack" / session, train, session, random)
    manifests += [
        mix / "manifest.json",
        pack,
        _base(results),
        _train(results / "train" / session, session, steps, random),
    ]
    manifests += [_evaluate(results / "evaluate" / m, m, m != "base", num_prompts) for m in ("base", session)]
    manifests += [
        _export(results / "export" / session, session),
        _plan(results / "plan" / f"{session}.json", session, steps),
    ]
    return manifests


def _sample(
    results: Path, name: str, source: str, method: str, taken: int, random: Random
) -> tuple[list[Path], list, dict]:
    draws = method in ("random", "reservoir")
    lost = (
        {"language": taken // 3, "no_close": 7}
        if draws and source == "openo1"
        else {"bad_json": 2}
        if not draws
        else {}
    )
    kinds = REASONS.get(source, ())
    rejected, records = [], []
    for i in range(taken):
        row_id = f"{source}{i}".encode().hex().ljust(32, "f")[:32]
        question, trace, answer = chain(random)
        if i == 0:
            question = f"{HOSTILE} {question}"
        trace = " ".join([trace] * random.choice((1, 2, 3, 5, 8)))
        if kinds and i % 23 == 3:
            raw = json.dumps({"prompt": question, "response": f"<think>{trace} {HOSTILE if i < 30 else ''}"})
            reason = kinds[i % len(kinds)]
            rejected.append(
                {
                    "source": source,
                    "source_row": i,
                    "row_id": row_id,
                    "reason": reason,
                    "detail": trace[:40],
                    "raw": raw,
                }
            )
            continue
        name_of = f"{source}-{i:04d}".encode().hex().ljust(32, "0")[:32]
        records.append({
            "record_id": name_of, "question_id": name_of, "source": source, "source_row": i, "row_id": row_id,
            "question": question, "trace": trace, "answer": answer,
        })  # fmt: skip
    dropped = [
        {"source": source, "source_row": 10_000 + i, "row_id": f"{i:032x}", "reason": reason, "detail": "zh 0.98",
         "raw": '{"prompt": ' if reason == "bad_json" else None}
        for reason, n in lost.items() for i in range(n)
    ]  # fmt: skip
    looked_at = taken + len(dropped)
    counts = {
        "rows_in_reach": 3 * looked_at if draws else looked_at,
        "looked_at": looked_at, "taken": taken, "dropped": lost, "not_reached": 2 * looked_at if draws else 0,
    }  # fmt: skip
    chosen = {"name": name, "source": source, "method": method, "seed": 42 if draws else None}
    download, sample, standard = (results / stage / f"{name}.json" for stage in ("download", "sample", "standardize"))
    blob = results.parent / "blobs" / f"{source}.parquet"
    _download(
        download, {"name": name, "source": source, "hub": f"hub/{source}", "path": None}, blob, f"{len(source):040x}"
    )
    with_raw = DROPPED.append(pa.field("raw", pa.large_string()))
    write_table(sample.with_suffix(".dropped.parquet"), with_raw, [dropped])
    write_table(standard.with_suffix(".parquet"), RECORD, [records])
    write_table(standard.with_suffix(".rejected.parquet"), REJECTED, [rejected])
    write_manifest(
        sample, stage="sample", name=name, settings=chosen, inputs={"download": download}, counts=counts,
        files={"dropped": sample.with_suffix(".dropped.parquet")},
    )  # fmt: skip
    reasons = dict(Counter(r["reason"] for r in rejected))
    write_manifest(
        standard, stage="standardize", name=name, settings={"name": name, "source": source}, inputs={"sample": sample},
        files={"records": standard.with_suffix(".parquet"), "rejected": standard.with_suffix(".rejected.parquet")},
        counts={"rows": taken, "records": len(records), "rejected": reasons},
    )  # fmt: skip
    branch = {"source": source, "records": len(records), "removed": Counter(), "train": 0}
    return [download, sample, standard], records, branch


def _download(path: Path, chosen: dict[str, Any], blob: Path, revision: str | None) -> None:
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(b"x" * 1000)
    write_manifest(
        path, stage="download", name=chosen["name"], settings=chosen, inputs={}, files={blob.name: blob},
        counts={"files": 1, "bytes": 1000}, hub=chosen["hub"], revision=revision,
    )  # fmt: skip


def _base(results: Path) -> Path:
    path = results / "download/base.json"
    chosen = {"name": "base", "kind": "model", "hub": "google/gemma-2-2b-it", "path": None}
    _download(path, chosen, results.parent / "blobs/model.safetensors", "f" * 40)
    return path


def _removal(random: Random) -> str:
    draw = random.random()
    return "held_out" if draw < 0.08 else "near_duplicate" if draw < 0.11 else "same_record" if draw < 0.13 else ""


def _removed(sample: str, record: dict[str, Any], reason: str, other: str) -> dict[str, Any]:
    near = reason == "near_duplicate"
    return {
        **{k: record[k] for k in ("source", "source_row", "row_id", "record_id", "question_id")}, "sample": sample,
        "reason": reason, "duplicate_of": other if near else "", "similarity": 0.91 if near else None,
    }  # fmt: skip


def _pack(folder: Path, train: list[dict[str, Any]], session: str, random: Random) -> Path:
    lines, by_source, row, free, segment = [], {}, 0, LENGTH, 0
    for i, record in enumerate(train):
        source = by_source.setdefault(
            record["source"],
            {
                "records": 0,
                "kept": 0,
                "whole": 0,
                "trimmed": 0,
                "tokens": 0,
                "loss_tokens": 0,
                "tokens_cut": 0,
                "dropped": Counter(),
            },
        )
        source["records"] += 1
        tokens = 40 + len(record["trace"]) // 3
        line = {k: record[k] for k in ("record_id", "source", "source_row")}
        if i % 97 == 5:
            source["dropped"]["answer_too_long"] += 1
            lines.append(
                line | {"packed_row": -1, "segment": -1, "num_tokens": 0, "tokens_cut": 0, "reason": "answer_too_long"}
            )
            continue
        cut = max(0, tokens - LENGTH)
        tokens -= cut
        if tokens > free:
            row, free, segment = row + 1, LENGTH, 0
        free, segment = free - tokens, segment + 1
        lines.append(
            line | {"packed_row": row, "segment": segment, "num_tokens": tokens, "tokens_cut": cut, "reason": ""}
        )
        source["kept"] += 1
        source["trimmed" if cut else "whole"] += 1
        source["tokens"] += tokens
        source["loss_tokens"] += tokens // 2
        source["tokens_cut"] += cut
    write_table(folder / "ledger.parquet", LEDGER, [lines])
    total = {
        k: sum(s[k] for s in by_source.values()) for k in ("records", "trimmed", "tokens", "loss_tokens", "tokens_cut")
    }
    kept = sum(s["kept"] for s in by_source.values())
    template = {
        "system_prompt": "Think step by step.",
        "max_seq_length": LENGTH,
        "overlong": "trim",
        "min_trace_tokens": 16,
    }
    write_manifest(
        folder / "manifest.json", stage="pack", name=session, settings={"name": session, "seed": 42, "template": template},
        inputs={}, files={"ledger": folder / "ledger.parquet"},
        counts=total | {"examples": kept, "dropped": len(train) - kept, "rows": row + 1, "by_source": by_source,
                        "density": round(total["tokens"] / ((row + 1) * LENGTH), 6)},
    )  # fmt: skip
    return folder / "manifest.json"


def _train(folder: Path, session: str, steps: int, random: Random) -> Path:
    history, timing = [], []
    for step in range(1, steps + 1):
        loss = 0.35 + 2.6 * math.exp(-6 * step / steps) + random.gauss(0, 0.05)
        rate = 2e-5 * min(1, step / 10) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        norm = 0.4 + 3 * math.exp(-8 * step / steps) * random.uniform(0.5, 1.5)
        line = {
            "step": step,
            "loss": loss,
            "lr": rate,
            "grad_norm": norm,
            "skipped": 0,
            "tokens": 2500,
            "loss_tokens": 1300,
        }
        history.append(line | ({"share_moved": 0.5 + step / steps / 2.1} if step % 10 == 0 else {}))
        timing.append({"step": step, "seconds": random.uniform(0.3, 0.36), "tokens": 2500, "peak_bytes": 1_200_000_000})
    folder.mkdir(parents=True)
    for name, lines in (("history", history), ("timing", timing)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    chosen = {
        "method": "sft", "adapter": {"rank": 16, "alpha": 32}, "learning_rate": 2e-5, "batch_size": 16,
        "gradient_accumulation": 1, "warmup_steps": 10, "schedule": "cosine",
    }  # fmt: skip
    write_manifest(
        folder / "manifest.json", stage="train", name=session, settings={"name": session, "seed": 42, "train": chosen},
        inputs={}, files={"history": folder / "history.jsonl"},
        counts={"steps": steps, "skipped": 0, "tokens": 2500 * steps, "loss_tokens": 1300 * steps, "parameters": 131_072},
    )  # fmt: skip
    return folder / "manifest.json"


def _evaluate(folder: Path, name: str, trained: bool, num_prompts: int) -> Path:
    random, rows, direct = Random(7), [], []
    sources = [source for source, _, _ in SAMPLES.values()]
    for i in range(num_prompts):
        question, trace, answer = chain(random)
        if i == 2:
            question = f"{HOSTILE} {question}"
        luck, other = random.random(), random.choice(NAMES)
        said = f"<reasoning>{trace}</reasoning>\n<answer>{answer if luck < 0.8 else other}</answer>"
        stopped = True
        if not trained:
            said, stopped = (
                (f"{answer} serves" if luck < 0.3 else "I think that " + f"{other} serves {answer}. " * 12),
                luck < 0.5,
            )
        elif luck > 0.97:
            said, stopped = "<reasoning>" + f"{trace} so again " * 14, False
        if i == 2 and trained:
            said = f"<reasoning>{HOSTILE}</reasoning>\n<answer>{answer}</answer>"
        found = grade(said, answer, stopped=stopped)
        shared = {
            "prompt_id": f"{i:032x}", "source": sources[i % 4], "question": question, "gold_answer": answer,
        }  # fmt: skip
        rows.append(shared | {
            "mode": "greedy", "completion": said, "trace": found.trace, "answer": found.answer, "reason": found.reason,
            "well_formed": found.well_formed, "graded": found.graded, "correct": found.correct, "looping": found.looping,
            "truncated": not stopped, "answer_copied": found.answer_copied,
            "language_switched": False, "stop_reason": "stop" if stopped else "length",
            "num_tokens": len(said) // 3, "gold_loss": (12 if trained else 80) * random.uniform(0.8, 1.2), "gold_tokens": 40,
            "stop_probability": random.uniform(0.9, 1) if trained else random.uniform(0, 0.2),
        })  # fmt: skip
        guess = answer if random.random() < 0.28 else other
        direct.append(shared | {
            "mode": "direct", "completion": guess, "trace": "", "answer": guess, "reason": "", "well_formed": None,
            "graded": None, "correct": answers_match(guess, answer), "looping": None, "truncated": False,
            "answer_copied": None, "language_switched": None, "stop_reason": "stop", "num_tokens": 2, "gold_loss": None, "gold_tokens": None,
            "stop_probability": None,
        })  # fmt: skip
    rows += direct
    write_table(folder / "generations.parquet", GENERATION, [rows])
    found_measures = measures(rows)
    tasks = {task: "0123456789ab" for task in TASKS if task in found_measures["total"]}
    own = [
        row | {"source": "exam", "gold_tokens": None, "gold_answers": [row["gold_answer"]], "tags": [OWN_TAG] * (i % 2)}
        for i, row in enumerate(rows[:6])
    ]
    write_table(folder / "questions.parquet", ANSWERED, [own])
    of_own = measures_of_questions(own)
    of_own["exam"]["tasks"] = {"greedy": "ba9876543210"}
    write_json(folder / "metrics.json", {"name": name, "tasks": tasks, **found_measures, "questions": of_own})
    write_manifest(
        folder / "manifest.json", stage="evaluate", name=name, settings={"name": name, "seed": 42}, inputs={},
        files={n: folder / f"{n}.{'json' if n == 'metrics' else 'parquet'}" for n in ("metrics", "generations", "questions")},
        counts={"prompts": num_prompts, "generations": len(rows)},
    )  # fmt: skip
    return folder / "manifest.json"


def _export(folder: Path, session: str) -> Path:
    checks = {"max_error": 1.1e-5, "mean_error": 1e-6, "top1_agreement": 1.0, "positions": 800, "bound": 5e-4}
    write_manifest(
        folder / "certificate.json", stage="export", name=session, settings={"name": session}, inputs={}, files={},
        counts={"prompts": 8, "positions": 800}, compared_with="base + adapter, float32",
        formats={"peft": {"peft": checks}, "merged": {"merged, float32 file": checks}},
    )  # fmt: skip
    return folder / "certificate.json"


def _plan(path: Path, session: str, steps: int) -> Path:
    plan = {
        "session": session, "steps": steps, "epochs_seen": 2.0, "tokens": 1250 * steps, "loss_tokens": 650 * steps,
        "trained_parameters": 131_072, "time": {"seconds": 100.0}, "memory": {"total_bytes": 600_000_000},
    }  # fmt: skip
    write_json(path, plan)
    return path
