"""Public docstrings are complete: what is raised is named, arrays have shapes, every `Args:` is of the signature.

That there is one, and how it is laid out, is ruff's to check (its rules D in pyproject.toml).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "src/showwork"
ARRAYS = re.compile(r"\b(?:jax\.Array|np\.ndarray|jnp\.ndarray)\b")
SHAPE = re.compile(r"\[[\w, +*/().…-]*\]|scalar|one number|shape|array|any shape", re.IGNORECASE)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def public(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    """Functions of a module and methods of its classes whose names begin with no underscore."""
    for node in tree.body:
        if isinstance(node, Function):
            holders: list[tuple[str, ast.stmt]] = [("", node)]
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            holders = [(f"{node.name}.", inner) for inner in node.body]
        else:
            continue
        for prefix, inner in holders:
            if isinstance(inner, Function) and not inner.name.startswith("_"):
                yield prefix + inner.name, inner


def raised(function: Function) -> set[str]:
    """Names of the exceptions that a function raises itself: not those of functions within it, not a bare `raise`, not one
    that it catches again.
    """
    found, waiting = set(), list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, Function | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(node, ast.Raise) and node.exc is not None:
            called = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = (
                called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
            )
            if name[:1].isupper():
                found.add(name)
        waiting += ast.iter_child_nodes(node)
    return found


def lacking(function: Function) -> Iterator[str]:
    """What the docstring of a function should say and does not."""
    doc = ast.get_docstring(function) or ""
    _, _, told = doc.partition("Raises")
    for name in sorted(raised(function) - {"StopIteration", "AssertionError", "NotImplementedError"}):
        if name not in told:
            yield f"raises {name}"
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    given = [a.arg for a in arguments if a.annotation and ARRAYS.search(ast.unparse(a.annotation))]
    returns = function.returns is not None and ARRAYS.search(ast.unparse(function.returns))
    names = {a.arg for a in [*arguments, function.args.vararg, function.args.kwarg] if a}
    block = re.search(r"^Args:\n((?:[ ]+.*\n?|\n(?=[ ]))+)", doc, re.MULTILINE)
    if block:
        indent = re.match(r" +", block[1])
        for name in re.findall(rf"^{indent[0] if indent else ''}\*{{0,2}}(\w+): ", block[1], re.MULTILINE):
            if name not in names:
                yield f"describes {name}, which it does not take"
    if (given or returns) and not SHAPE.search(doc):
        yield f"has no shape of {', '.join(given) or 'what it returns'}"


def test_public_docstrings_name_what_is_raised_and_the_shapes_of_arrays() -> None:
    found, seen = [], 0
    for file in sorted(PACKAGE.rglob("*.py")):
        for name, function in public(ast.parse(file.read_text("utf-8"))):
            seen += 1
            found += [f"{file.relative_to(PACKAGE)}: {name} {what}" for what in lacking(function)]
    assert seen > 500
    assert found == []


def test_what_lacks_is_found() -> None:
    code = (
        "def good(x: np.ndarray) -> None:\n    '''x [B, L].\n\n    Raises: ValueError when it is empty.\n    '''\n"
        "    raise ValueError('x')\n"
        "def bad(x: np.ndarray) -> None:\n    '''Take x.'''\n    raise OSError('x')\n"
        "def other(x: int) -> None:\n    '''Take x.\n\n    Args:\n      x: one.\n      y: two.\n    '''\n"
        "def _hidden(x: np.ndarray) -> None:\n    raise OSError\n"
    )
    told = {name: list(lacking(function)) for name, function in public(ast.parse(code))}
    assert told == {
        "good": [],
        "bad": ["raises OSError", "has no shape of x"],
        "other": ["describes y, which it does not take"],
    }
