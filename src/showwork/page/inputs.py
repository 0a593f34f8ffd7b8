"""The manifests that a page is made from, by stage and name, and the evaluations among them.

*Takes* paths of manifests in any order. *Leaves* what each says, and each model's measures and generations, checked by digest.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from showwork.foundation.files import read_json, sha256_file
from showwork.foundation.manifest import read_checked
from showwork.foundation.tables import read_rows
from showwork.page.comparison import Evaluated
from showwork.page.provenance import Read


class Inputs:
    """The manifests by stage and name."""

    def __init__(self, paths: Sequence[Path], session: str) -> None:
        self.session = session
        self.reads = [Read(str(path), read_json(path), sha256_file(path)) for path in paths]

    def all(self, stage: str) -> list[Read]:
        """Every manifest of a stage, in the order given."""
        return [r for r in self.reads if r.manifest.get("stage") == stage]

    def one(self, stage: str, name: str) -> Read:
        """The manifest of a stage with this name. Raises ValueError when it was not given."""
        for read in self.all(stage):
            if read.manifest["name"] == name:
                return read
        given = ", ".join(f"{r.manifest.get('stage')} {r.manifest.get('name')}" for r in self.reads)
        raise ValueError(
            f"{self.session!r}: --inputs holds no manifest of {stage} {name!r}, only {given}; add the one that "
            f"{stage} left"
        )

    def plan(self) -> dict[str, Any] | None:
        """The plan of this session, which is no manifest and names its session, or None."""
        return next(
            (r.manifest for r in self.reads if r.manifest.get("session") == self.session and "memory" in r.manifest),
            None,
        )

    def maybe(self, stage: str) -> dict[str, Any] | None:
        """What this session's stage left, or None when it was not given."""
        return next((r.manifest for r in self.all(stage) if r.manifest["name"] == self.session), None)


def evaluated(inputs: Inputs, name: str) -> Evaluated:
    """The measures and the generations of the base or of a session."""
    found = inputs.one("evaluate", name)
    modes: dict[str, dict[str, dict[str, Any]]] = {}
    for batch in read_rows(read_checked(found.path, "generations")):
        for row in batch.to_pylist():
            modes.setdefault(row["mode"], {})[row["prompt_id"]] = row
    return Evaluated(name, read_json(read_checked(found.path, "metrics")), modes)


def same_tasks(models: Sequence[Evaluated]) -> None:
    """Refuse to compare numbers of different versions of a task. Raises ValueError naming both."""
    for model in models[1:]:
        for task, version in model.metrics["tasks"].items():
            other = models[0].metrics["tasks"].get(task, version)
            if other != version:
                raise ValueError(
                    f"task {task!r} has version {version} for {model.name} and {other} for {models[0].name}; numbers of "
                    "two versions cannot be compared, so evaluate both again"
                )


def judged_by(inputs: Inputs, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """{model: metrics.json of the judge} of the models that a judge has graded, in the order of `names`."""
    found = {read.manifest["name"]: read for read in inputs.all("judge")}
    return {name: read_json(read_checked(found[name].path, "metrics")) for name in names if name in found}
