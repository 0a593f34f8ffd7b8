"""Which module comes with which extra of the package, and the sentence for one that is not installed.

Takes:  nothing; the table below. A test holds it equal to pyproject.toml.
Leaves: for `python -m showwork.<stage>`, whose imports run before any of its code, one sentence in place of a trace.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType

EXTRAS = {
    "altair": "report",
    "datasets": "data",
    "flax": "train",
    "jax": "train",
    "optax": "train",
    "orbax": "train",
    "safetensors": "train",
    "tokenizers": "train",
    "vl_convert": "report",
}
"""{module: the extra that brings it}; what is not here comes with the package itself."""


def missing_extra(error: BaseException) -> str | None:
    """The sentence for a module that an extra would bring; None for any other error.

    >>> missing_extra(ModuleNotFoundError("No module named 'jax'", name="jax"))
    "jax is not installed; it comes with the extra train: pip install -c envs/constraints.txt -e '.[train]'"
    """
    module = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if module not in EXTRAS:
        return None
    extra = EXTRAS[module]
    return (
        f"{module} is not installed; it comes with the extra {extra}: "
        f"pip install -c envs/constraints.txt -e '.[{extra}]'"
    )


def say_what_is_missing() -> None:
    """From now on an import of a missing extra that nobody catches ends the process with one sentence, status 1."""
    sys.excepthook = _hook


def _hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sentence = missing_extra(error)
    if sentence is None:
        sys.__excepthook__(kind, error, trace)
    else:
        print(f"{Path(sys.argv[0]).stem}: error: {sentence}", file=sys.stderr)
