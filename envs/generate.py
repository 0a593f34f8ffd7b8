"""Write envs/data.yaml and envs/train.yaml, the environments of `--sdm conda`, from pyproject.toml: `make envs`.

Takes:  pyproject.toml.
Leaves: one file for each environment: the package's own dependencies, without what only the person's own Python needs, and
        those of its extras. A test holds the files equal to what this prints.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

ENVS = Path(__file__).parent
ENVIRONMENTS = {
    "data": (("data", "report"), "rules that work on text and draw pages"),
    "train": (("train",), "rules that work on tokens and run the model; for a GPU write jax[cuda12] in place of jax"),
}
"""{file: (extras, what it is for)}"""
OUTSIDE = ("snakemake", "rich")
"""Jobs are started by Snakemake and looked at with rich; they use neither."""


def text(name: str) -> str:
    """The whole of envs/<name>.yaml."""
    project = tomllib.loads((ENVS.parent / "pyproject.toml").read_text("utf-8"))["project"]
    extras, purpose = ENVIRONMENTS[name]
    pins = [*project["dependencies"], *(pin for extra in extras for pin in project["optional-dependencies"][extra])]
    kept = sorted(pin for pin in pins if not pin.startswith(OUTSIDE))
    return "\n".join(
        [
            f"# For the {purpose}.",
            "# Used only with `--sdm conda`. Written from pyproject.toml by `make envs`.",
            "channels: [conda-forge, nodefaults]",
            "dependencies:",
            "  - python=3.11",
            "  - pip",
            "  - pip:",
            *(f"      - {pin}" for pin in kept),
            "",
        ]
    )


if __name__ == "__main__":
    for environment in ENVIRONMENTS:
        (ENVS / f"{environment}.yaml").write_text(text(environment), encoding="utf-8")
