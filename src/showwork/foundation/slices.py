"""The slice of the configuration that each job may see, and nothing else.

Takes:  the checked configuration.
Leaves: for every stage one dict; as canonical JSON it is the job's only setting and the reason why it reruns. A key
        that is not in a job's slice cannot change that job's result.
"""

from __future__ import annotations

from typing import Any

Config = dict[str, Any]

BASE_FILES = ["*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json", "tokenizer*.json",
              "tokenizer.model", "special_tokens_map.json", "chat_template.jinja"]  # fmt: skip
"""What is taken of a base model's folder: weights as safetensors only, never pickles."""


def chain(config: Config, session: str) -> list[str]:
    """The sessions that `session` starts from, the earliest first.

    >>> chain({"sessions": {"a": {"start_from": "base"}, "b": {"start_from": "a"}}}, "b")
    ['a']
    """
    found: list[str] = []
    at = config["sessions"][session]["start_from"]
    while at in config["sessions"]:
        found.insert(0, at)
        at = config["sessions"][at]["start_from"]
    return found


def mixed(config: Config, session: str) -> str:
    """The session whose mix and packed rows this one trains on: itself, unless it is a run of a sweep that shares them."""
    return str(config["sessions"][session].get("mix", session))


def with_lock(config: Config, lock: dict[str, Any]) -> Config:
    """The configuration with revisions that are null filled from `sources.lock`; a revision that is given stays."""
    locked = {**config, "sources": {k: dict(v) for k, v in config["sources"].items()}, "model": dict(config["model"])}
    for name, source in locked["sources"].items():
        if source["revision"] is None and source["path"] is None:
            entry = lock.get("sources", {}).get(name, {})
            source["revision"] = entry.get("revision") if entry.get("hub") == source["hub"] else None
    model, entry = locked["model"], lock.get("base") or {}
    if model["revision"] is None and model["path"] is None and entry.get("hub") == model["base"]:
        model["revision"] = entry.get("revision")
    return locked


def unresolved(config: Config) -> list[str]:
    """One sentence for each revision that is still unknown; only the jobs that download refuse it."""
    entries = [(f"sources.{name}", s["hub"], s) for name, s in config["sources"].items()]
    entries.append(("model", config["model"]["base"], config["model"]))
    return [
        f"{place}.revision is null: {hub} cannot be downloaded before `snakemake --cores 1 lock` has resolved it"
        for place, hub, entry in entries
        if entry["revision"] is None and entry["path"] is None
    ]


def lock(config: Config) -> Config:
    """Everything that lies on the hub."""
    sources = {n: s for n, s in config["sources"].items() if s["path"] is None}
    keys = ("hub", "revision", "files", "layout")
    model = config["model"]
    return {
        "name": "sources.lock",
        "sources": {n: {k: s[k] for k in keys} for n, s in sources.items()},
        "base": None
        if model["path"]
        else {"hub": model["base"], "revision": model["revision"], "files": BASE_FILES, "layout": "model"},
    }


def download(config: Config, sample: str) -> Config:
    """What a sample needs of its source."""
    if sample == "base":
        model = config["model"]
        hub, path = (None, model["path"]) if model["path"] else (model["base"], None)
        return {
            "kind": "model",
            "name": "base",
            "hub": hub,
            "revision": model["revision"],
            "path": path,
            "files": BASE_FILES,
        }
    chosen = config["samples"][sample]
    source = config["sources"][chosen["source"]]
    need = {"start": chosen["start"], "stop": chosen["stop"]} if chosen["method"] == "first_n" else None
    local = source["path"] is not None
    return {
        "kind": "dataset",
        "name": sample,
        "source": chosen["source"],
        "hub": None if local else source["hub"],
        "revision": None if local else source["revision"],
        "path": source["path"],
        "files": source["files"],
        "layout": source["layout"],
        "need": need if source["layout"] == "parquet" else None,
    }


def sample(config: Config, name: str) -> Config:
    """How rows are chosen; filters and format only where rows are drawn among those that pass."""
    chosen = config["samples"][name]
    source = config["sources"][chosen["source"]]
    draws = chosen["method"] in {"random", "reservoir"}
    return {
        "name": name,
        "source": chosen["source"],
        "layout": source["layout"],
        "columns": source["columns"],
        "method": chosen["method"],
        "n": chosen["n"],
        "start": chosen["start"],
        "stop": chosen["stop"],
        "seed": config["seed"] if draws else None,
        "filters": source["filters"] if draws else None,
        "format": source["format"] if draws else None,
        "min_kept": source["min_kept"] if draws else None,
        "weights": chosen["weights"],
        "per_task": chosen["per_task"],
    }


def standardize(config: Config, name: str) -> Config:
    """How a sample's rows become records."""
    source = config["sources"][config["samples"][name]["source"]]
    return {
        "name": name,
        "source": config["samples"][name]["source"],
        "format": source["format"],
        "columns": source["columns"],
        "filters": source["filters"],
        "min_kept": source["min_kept"],
    }


def heldout(config: Config) -> Config:
    """Which questions are held out, and how many are asked."""
    held = config["held_out"]
    return {"name": "prompts", "seed": config["seed"], "share": held["share"], "prompts": held["prompts"]}


def _licenses(config: Config, samples: list[str]) -> Config:
    names = sorted({config["samples"][s]["source"] for s in samples})
    return {
        n: {"license": s["license"], "note": s["license_note"], "hub": s["hub"]}
        for n in names
        for s in [config["sources"][n]]
    }


def mix(config: Config, session: str) -> Config:
    """How a session's samples are joined; the user's own questions where there are any, which it must not hold."""
    samples, questions = config["sessions"][session]["samples"], config["evaluate"]["questions"]
    return {
        "name": session,
        "seed": config["seed"],
        "share": config["held_out"]["share"],
        "samples": samples,
        "licenses": _licenses(config, samples),
        "allowed": config["mix"]["licenses"],
        "duplicates": {
            "near": config["mix"]["near_duplicates"],
            "threshold": config["mix"]["threshold"],
            "decontamination": config["mix"]["decontamination"],
        },
        **({"questions": questions} if questions else {}),
    }


def publish(config: Config, session: str) -> Config:
    """What is made ready to upload, and whom it credits."""
    samples = config["sessions"][session]["samples"]
    return {
        "name": session,
        "publish": config["sessions"][session]["publish"],
        "samples": samples,
        "licenses": _licenses(config, samples),
    }


def pack(config: Config, session: str) -> Config:
    """How records become packed rows."""
    return {"name": session, "seed": config["seed"], "template": config["template"]}


def method(config: Config, session: str) -> str:
    """How a session trains: sft, grpo or auto."""
    return {**config["train"], **config["sessions"][session].get("train", {})}["method"]


def train(config: Config, session: str, method: str | None = None) -> Config:
    """How a session trains: `train` with the session's own keys over it; `grpo` only where that is the method.

    `method`, where given, stands in place of the session's own.
    """
    own = config["sessions"][session].get("train", {})
    merged = {**config["train"], **own, **({"method": method} if method else {})}
    for block in ("adapter", "grpo"):
        if isinstance(own.get(block), dict) and isinstance(config["train"].get(block), dict):
            merged[block] = {**config["train"][block], **own[block]}
    seed = config["seed"] if merged.get("seed") is None else merged["seed"]
    unread = {"seed"} if merged["method"] == "grpo" else {"seed", "grpo"}
    budget = {"asked": asked(config)} if merged.get("time_budget") is not None else {}
    unread |= set() if budget else {"time_budget"}
    return {
        "name": session,
        "seed": seed,
        "dtype": config["model"]["dtype"],
        "max_seq_length": config["template"]["max_seq_length"],
        "train": {k: v for k, v in merged.items() if k not in unread},
        **budget,
    }


def asked(config: Config) -> Config:
    """How much the evaluation will have a session write: what a time budget must leave room for."""
    how = config["evaluate"]
    return {
        "prompts": config["held_out"]["prompts"],
        "max_new_tokens": how["max_new_tokens"],
        "slots": how["batch"],
        "passes": 1 if how["temperature"] is None else 2,
    }


def rewarded(config: Config, session: str) -> Config | None:
    """The block `grpo` of a session that reads it."""
    return None if method(config, session) == "sft" else train(config, session, "grpo")["train"]["grpo"]


def auto(config: Config, session: str) -> Config:
    """Everything that a session may come to, once the verdict on the one it starts from is known."""
    return {"name": session, "sft": train(config, session, "sft"), "grpo": grpo(config, session)}


def grpo(config: Config, session: str) -> Config:
    """How a session trains on rewards: as `train`, and how its prompts are worded and its answers compared."""
    return {
        **train(config, session, "grpo"),
        "system_prompt": config["template"]["system_prompt"],
        "answer_match_max_characters": config["evaluate"]["answer_match_max_characters"],
    }


def evaluate(config: Config, model: str) -> Config:
    """How the base or a session is asked."""
    keys = ("system_prompt", "max_seq_length", "min_trace_tokens")
    return {
        "name": model,
        "seed": config["seed"],
        "dtype": config["model"]["dtype"],
        "template": {k: config["template"][k] for k in keys},
        "evaluate": config["evaluate"],
    }


def verdict(config: Config, session: str) -> Config:
    """From where on a session underperforms."""
    return {"name": session, "verdict": config["verdict"]}


def judge(config: Config, model: str) -> Config:
    """Who grades the base or a session, and how much of it."""
    return {"name": model, "judge": config["judge"]}


def export(config: Config, session: str) -> Config:
    """What is handed on, and how exactly it must agree."""
    return {
        "name": session,
        "base": config["model"]["path"] or config["model"]["base"],
        "dtype": config["model"]["dtype"],
        "system_prompt": config["template"]["system_prompt"],
        "export": config["export"],
    }


def report(config: Config, session: str) -> Config:
    """What the page names beside the manifests it reads."""
    samples = config["sessions"][session]["samples"]
    return {
        "name": session,
        "mix": mixed(config, session),
        "samples": {s: config["samples"][s]["source"] for s in samples},
        "start_from": config["sessions"][session]["start_from"],
        "max_seq_length": config["template"]["max_seq_length"],
        "system_prompt": config["template"]["system_prompt"],
        "base": config["model"]["path"] or config["model"]["base"],
        "licenses": _licenses(config, samples),
    }


def sweep(config: Config, name: str) -> Config:
    """The runs of a sweep: what each varies, and the session that was trained for it."""
    block = config["sweep"][name]
    return {"name": name, "session": block["session"], "runs": block["runs"]}


def index(config: Config) -> Config:
    """The sessions and sweeps that stand side by side."""
    own = {n: s for n, s in config["sessions"].items() if "of_sweep" not in s}
    return {
        "name": "index",
        "sessions": {name: s["start_from"] for name, s in own.items()},
        "sweeps": {name: sweep(config, name) for name in config["sweep"]},
        "base": config["model"]["path"] or config["model"]["base"],
    }
