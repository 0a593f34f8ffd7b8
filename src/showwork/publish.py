"""Makes a session's dataset ready to upload, to the Hugging Face hub or to Kaggle.

Takes:  the session's mix and the samples it was made of.
Leaves: results/publish/<name>/: README.md (data card), NOTICE (every source and licence), dataset-metadata.json (Kaggle),
        data/train.parquet (the mix) and samples/<sample>.parquet (the rows as sampled, in the source's own columns), and
        results/publish/<session>.json, the manifest. `datasets.load_dataset("results/publish/<name>")` loads it.

    python -m showwork.publish --settings JSON --mix results/mix/session1/manifest.json --samples results/sample/a.json …
        --folder results/publish --manifest results/publish/session1.json

The folder is put together under another name and renamed when it is whole.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from showwork.foundation.files import scratch, write_json, write_text
from showwork.foundation.manifest import read_checked, read_manifest, write_manifest
from showwork.foundation.stage import Say, run_stage
from showwork.records.card import data_card, notice

Settings = dict[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    """The files of this stage."""
    parser.add_argument("--mix", type=Path, required=True, help="manifest of the session's mix")
    parser.add_argument("--samples", type=Path, nargs="+", required=True, help="manifests of its samples")
    parser.add_argument("--folder", type=Path, required=True, help="folder that gets a folder of the dataset's name")
    parser.add_argument("--manifest", type=Path, required=True, help="manifest to write")


def work(args: argparse.Namespace, settings: Settings, say: Say) -> None:
    """Put the folder together.

    Raises: ValueError for a name that the hub or Kaggle would refuse.
    """
    name = settings["publish"]
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{5,49}", name):
        raise ValueError(
            f"publish: sessions.{settings['name']}.publish is {name!r}, expected 6 to 50 letters, digits and dashes, which both "
            "hub and Kaggle take; choose such a name"
        )
    mix = read_manifest(args.mix)
    samples = {m["name"]: (m, path) for path in args.samples for m in [read_manifest(path)]}
    files = {"data/train.parquet": read_checked(args.mix, "train")}
    files |= {f"samples/{sample}.parquet": read_checked(path, "rows") for sample, (_, path) in samples.items()}
    origins = {m["settings"]["source"]: m["origin"] for m, _ in samples.values()}
    columns = {sample: [*m["columns"], "row_id", "source_row"] for sample, (m, _) in samples.items()}
    args.folder.mkdir(parents=True, exist_ok=True)
    with scratch(args.folder, name) as made:
        folder = made / name
        for target, file in files.items():
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, folder / target)
        write_text(folder / "README.md", data_card(name, mix, settings["licenses"], origins, columns))
        write_text(folder / "NOTICE", notice(name, settings["licenses"], origins))
        write_json(folder / "dataset-metadata.json", _for_kaggle(name, mix, list(samples)))
        final = args.folder / name
        if final.exists():
            final.rename(made / "before")
        folder.rename(final)
    written = {p.relative_to(final).as_posix(): p for p in sorted(final.rglob("*")) if p.is_file()}
    write_manifest(
        args.manifest,
        stage="publish",
        name=settings["name"],
        settings=settings,
        inputs={"mix": args.mix, **{sample: path for sample, (_, path) in samples.items()}},
        files=written,
        counts={
            "records": mix["counts"]["train"],
            "samples": {s: m["counts"]["taken"] for s, (m, _) in samples.items()},
        },
    )
    say(
        f"{final} is ready: {mix['counts']['train']:,} records and {len(samples)} samples. To upload: "
        f"`hf upload-large-folder OWNER/{name} {final} --repo-type dataset`, or replace OWNER in dataset-metadata.json and "
        f"`kaggle datasets create -p {final} --dir-mode zip`"
    )


def _for_kaggle(name: str, mix: dict[str, Any], samples: list[str]) -> dict[str, Any]:
    """Kaggle's metadata; the owner's name is the one thing that we cannot know."""
    described = {"data/train.parquet": f"The mix of {mix['name']}: question, trace, answer, in training order"}
    described |= {f"samples/{s}.parquet": f"The rows of sample {s} as they stand in their source" for s in samples}
    return {
        "title": name,
        "id": f"OWNER/{name.lower()}",
        "subtitle": f"{mix['counts']['train']:,} records of question, reasoning trace and answer",
        "licenses": [{"name": "other"}],
        "resources": [{"path": path, "description": text} for path, text in described.items()],
    }


if __name__ == "__main__":
    sys.exit(run_stage(work, arguments, __doc__))
