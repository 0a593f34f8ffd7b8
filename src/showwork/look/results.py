"""The folder of a run as it stands: which samples, sessions and models have got how far, and the command that goes on.

Takes:  a folder that holds results/.
Leaves: manifests by stage and name, the files that they list, and what of them is older than what it was made from. Only sizes
        are compared: to hash the files of a full run would take longer than any question asked of them.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from showwork.foundation.files import read_json, sha256_file
from showwork.foundation.manifest import read_manifest

PLACES = {
    "download": "results/download/{}.json",
    "sample": "results/sample/{}.json",
    "standardize": "results/standardize/{}.json",
    "heldout": "results/heldout/{}.json",
    "mix": "results/mix/{}/manifest.json",
    "pack": "results/pack/{}/manifest.json",
    "train": "results/train/{}/manifest.json",
    "evaluate": "results/evaluate/{}/manifest.json",
}
"""Where the manifest of each stage lies, in the order in which rows pass through them."""

PROMPTS = "prompts"
"""The name of the one set of held-out questions."""


@dataclass(frozen=True)
class Manifest:
    """One stage's manifest and where it lies."""

    stage: str
    name: str
    path: Path
    body: dict[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """The slice of the configuration that the job saw."""
        return self.body.get("settings", {})

    @property
    def counts(self) -> dict[str, Any]:
        """What it counts."""
        return self.body["counts"]

    @cached_property
    def sha256(self) -> str:
        """What later manifests name this one by."""
        return sha256_file(self.path)

    def file(self, key: str) -> Path:
        """The path of a file that it lists.

        Raises: FileNotFoundError when the file is gone; ValueError when it has another size than listed.
        """
        entry = self.body["files"][key]
        path = self.path.parent / entry["name"]
        again = f"delete {self.path} and run the command that built it again"
        if not path.is_file():
            raise FileNotFoundError(f"{path}: {self.path.name} lists it but it is gone; {again}")
        if path.stat().st_size != entry["bytes"]:
            raise ValueError(
                f"{path}: has {path.stat().st_size:,} bytes but {self.path.name} lists {entry['bytes']:,}; {again}"
            )
        return path

    def intact(self, key: str) -> Path:
        """The path of a file that it lists, once its bytes are those listed; nothing is moved or mended.

        Raises: as `file`; ValueError when its sha256 is another.
        """
        path, wanted = self.file(key), self.body["files"][key]["sha256"]
        if (got := sha256_file(path)) != wanted:
            raise ValueError(
                f"{path}: damaged since it was made: {self.path.name} says sha256 {wanted[:12]}…, the file has {got[:12]}…; "
                f"delete {path} and run the command that built it again"
            )
        return path


class Results:
    """The results of one run.

    Raises: FileNotFoundError when there is no results/ in the folder.
    """

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)
        self._read: dict[tuple[str, str], Manifest | None] = {}
        if not (self.directory / "results").is_dir():
            raise FileNotFoundError(
                f"{self.directory / 'results'}: no such folder; give the run's folder with --directory, or build the data "
                f"first: {self.command('data')}"
            )

    def manifest(self, stage: str, name: str) -> Manifest | None:
        """The manifest of a stage, or None where it has not been built.

        Raises: ValueError when the file there is no manifest.
        """
        if (stage, name) not in self._read:
            path = self.directory / PLACES[stage].format(name)
            self._read[stage, name] = Manifest(stage, name, path, read_manifest(path)) if path.is_file() else None
        return self._read[stage, name]

    def names(self, stage: str) -> list[str]:
        """What has been built of a stage, by name."""
        before, after = PLACES[stage].split("{}")
        found = self.directory.glob(f"{before}*{after}")
        return sorted(path.stem if after == ".json" else path.parent.name for path in found)

    def built(self, stage: str) -> Iterator[Manifest]:
        """The manifests of a stage."""
        for name in self.names(stage):
            if manifest := self.manifest(stage, name):
                yield manifest

    def sources(self) -> dict[str, list[str]]:
        """{source: its samples}, of every sample whose files are there."""
        found: dict[str, dict[str, None]] = {}
        for stage in ("sample", "download"):
            for manifest in self.built(stage):
                if source := manifest.settings.get("source"):
                    found.setdefault(source, {})[manifest.name] = None
        return {source: list(names) for source, names in sorted(found.items())}

    def sessions(self, sample: str) -> list[str]:
        """The sessions whose mix takes a sample."""
        return [mix.name for mix in self.built("mix") if sample in mix.counts["samples"]]

    @cached_property
    def is_demo(self) -> bool:
        """Whether the sources of this folder are the generated ones."""
        path = self.directory / "sources/manifest.json"
        return path.is_file() and read_json(path).get("stage") == "demo"

    def command(self, target: str) -> str:
        """What a person types to build a target."""
        words = ["snakemake", "--cores", "2" if self.is_demo else "8", target]
        if self.is_demo:
            words += ["--configfile", "workflow/recipes/demo.yaml"]
        if not (self.directory / "Snakefile").is_file():
            here = self.directory == Path()
            words += ["--directory", str(self.directory.resolve() if here else self.directory)]
        return shlex.join(words)

    def command_for(self, stage: str, name: str) -> str:
        """What a person types to build what a stage leaves under a name."""
        return self.command(PLACES[stage].format(name))

    def older(self) -> list[str]:
        """A sentence for each manifest that was made from something else than what lies there now."""
        found = []
        for stage in list(PLACES)[1:]:
            for manifest in self.built(stage):
                for key, digest in manifest.body.get("inputs", {}).items():
                    made_from = self._input(manifest, key)
                    if made_from and made_from.sha256 != digest:
                        found.append(
                            f"{manifest.path} was made from another {made_from.path} than lies there now: "
                            f"{self.command_for(stage, manifest.name)}"
                        )
        return found

    def _input(self, manifest: Manifest, key: str) -> Manifest | None:
        """What a key among a manifest's inputs names."""
        stage, name = {
            "download": ("download", manifest.name),
            "sample": ("sample", manifest.name),
            "heldout": ("heldout", PROMPTS),
            "prompts": ("heldout", PROMPTS),
            "mix": ("mix", manifest.name),
            "base": ("download", "base"),
            "pack": ("pack", manifest.name),
            "adapter": ("train", manifest.name),
            "start": ("", ""),  # the manifest does not say which session that is
        }.get(key, ("mix", key.removeprefix("earlier ")) if key.startswith("earlier ") else ("standardize", key))
        return self.manifest(stage, name) if stage else None
