"""Where the files of the base lie, once they are what the download recorded.

Takes   results/download/base.json, whose paths are relative to the working directory.
Leaves  the folder in the Hugging Face layout, and one digest of the base for whatever is trained on it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from showwork.foundation.files import canonical, sha256_file
from showwork.foundation.manifest import read_manifest

NEEDED = ("config.json", "tokenizer.json")


def base_folder(manifest: Path, *, weights: bool = False) -> Path:
    """The base's folder; config.json and tokenizer.json are checked by sha256, with `weights` every file is.

    Raises:
      FileNotFoundError: a file that the manifest lists is gone.
      ValueError: the manifest lists no tokenizer.json or config.json, or a file's bytes are not those recorded.
    """
    files = read_manifest(manifest)["files"]
    for name in NEEDED:
        if name not in files:
            raise ValueError(
                f"{manifest}: the base has no {name}; it lists {', '.join(sorted(files)) or 'nothing'}, so name a base "
                "folder that holds config.json, tokenizer.json and *.safetensors"
            )
    for name, entry in sorted(files.items()):
        path = Path(entry["path"])
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: {manifest} lists it but it is gone; delete {manifest} and run the same command again"
            )
        if (weights or name in NEEDED) and (path.stat().st_size, sha256_file(path)) != (
            entry["bytes"],
            entry["sha256"],
        ):
            raise ValueError(
                f"{path}: its bytes are not those that {manifest} recorded (sha256 {entry['sha256'][:12]}…); "
                f"if the change is meant delete {manifest}, else delete the file, and run the same command again"
            )
    return Path(files["config.json"]["path"]).parent


def base_digest(manifest: Path) -> str:
    """sha256 over names and sha256s of config.json and the weights: what a training result depends on."""
    files = read_manifest(manifest)["files"]
    parts = {n: e["sha256"] for n, e in files.items() if n == "config.json" or n.endswith(".safetensors")}
    return hashlib.sha256(canonical(parts).encode()).hexdigest()
