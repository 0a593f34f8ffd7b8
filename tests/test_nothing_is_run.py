"""What comes from outside is data: no pickle, no code of a model's or dataset's repository, no YAML that makes objects, no eval."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from showwork.foundation.slices import BASE_FILES

SOURCE = Path(__file__).parents[1] / "src"
RUNS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
CALLS = {"eval", "exec", "compile", "__import__"}
WORDS = {"trust_remote_code", "allow_pickle", "weights_only"}
SAFE_LOADERS = {"_Loader", "SafeLoader", "CSafeLoader"}


def offences(text: str) -> list[str]:
    """What in a module would run something that lies in a file."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [n.name for n in node.names if n.name.partition(".")[0] in RUNS]
        elif isinstance(node, ast.ImportFrom):
            found += [node.module or ""] if (node.module or "").partition(".")[0] in RUNS else []
        elif isinstance(node, ast.Call):
            found += [node.func.id] if isinstance(node.func, ast.Name) and node.func.id in CALLS else []
            found += [k.arg or "" for k in node.keywords if k.arg in WORDS]
            called = ast.unparse(node.func)
            if called in ("yaml.load", "yaml.load_all", "yaml.compose", "yaml.parse"):
                loaders = [ast.unparse(k.value).rpartition(".")[2] for k in node.keywords if k.arg == "Loader"]
                found += [called] if not loaders or not set(loaders) <= SAFE_LOADERS else []
            if called in ("torch.load", "yaml.unsafe_load", "yaml.full_load"):
                found.append(called)
    return found


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("import pickle", "pickle"),
        ("from joblib import load", "joblib"),
        ("np.load(f, allow_pickle=True)", "allow_pickle"),
        ("load_dataset(x, trust_remote_code=True)", "trust_remote_code"),
        ("yaml.load(x, Loader=yaml.FullLoader)", "yaml.load"),
        ("yaml.load(x)", "yaml.load"),
        ("eval('1')", "eval"),
        ("torch.load(f)", "torch.load"),
    ],
)
def test_it_would_be_noticed(text: str, named: str) -> None:
    assert offences(text) == [named]


def test_no_module_runs_what_lies_in_a_file() -> None:
    modules = sorted(SOURCE.rglob("*.py"))
    assert len(modules) > 100
    assert {str(m.relative_to(SOURCE)): found for m in modules if (found := offences(m.read_text("utf-8")))} == {}


def test_weights_are_taken_as_safetensors_alone() -> None:
    weights = [pattern for pattern in BASE_FILES if not pattern.endswith((".json", ".model", ".jinja", ".txt"))]
    assert weights == ["*.safetensors"]
