"""code_version(module): a short hash of what a stage would execute.

Takes:  the name of one of our modules.
Leaves: 12 hex digits over that module, everything it imports from `src/` and the files that lie in those packages (the
        report's templates, the demo's base). Comments, docstrings, blank lines and the
        texts of `raise` statements are cut out first, so only an edit that can alter a result marks results as stale.

The hash is taken over text, not over a syntax tree: ast.dump() and ast.unparse() differ between Python versions, and an
upgrade of Python must not retrain.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import io
import os
import sys
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

from showwork.foundation.files import sha256_file

ROOT = Path(__file__).resolve().parents[2]

NO_INFLUENCE = frozenset({"showwork", "showwork.foundation.stage", "showwork.foundation.extras"})
"""Modules that stages import but that cannot change what they leave: how a stage talks."""


def code_version(module: str, *, root: Path = ROOT) -> str:
    """Hash of `module` and its imports below `root`, as 12 hex digits.

    Raises: ModuleNotFoundError when there is no such module.
    """
    return _code_version(module, root)


def user_code(path: str) -> str | None:
    """Hash of a function `module:function` of the user and of all that its module imports beside it.

    None when there is no such module. The module is looked for in the working directory first, then on the Python
    path, as the stage will import it.
    """
    module = path.partition(":")[0]
    for entry in dict.fromkeys((str(Path.cwd()), *os.environ.get("PYTHONPATH", "").split(os.pathsep), *sys.path)):
        root = Path(entry or ".").resolve()
        if _file(module, root) is not None:
            return code_version(module, root=root)
    return None


@functools.cache
def _code_version(module: str, root: Path) -> str:
    if _file(module, root) is None:
        raise ModuleNotFoundError(f"no module {module} under {root}")
    sources = closure(module, root=root)
    text = "\0".join(f"{name}\n{_bare(source)}" for name, source in sorted(sources.items()))
    text += "".join(f"\0{name} {sha256_file(path)}" for name, path in sorted(_package_files(sources, root)))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def closure(module: str, *, root: Path = ROOT) -> dict[str, str]:
    """{module name: source text} of a module, its parent packages and all it imports below `root`."""
    seen: dict[str, str] = {}
    todo = [module]
    while todo:
        name = todo.pop()
        file = _file(name, root)
        if name in seen or name in NO_INFLUENCE or file is None:
            continue
        seen[name] = source = file.read_text("utf-8")
        parts = name.split(".")
        todo += [".".join(parts[:i]) for i in range(1, len(parts))]
        todo += _imports(source, name if file.name == "__init__.py" else name.rpartition(".")[0])
    return seen


@functools.cache
def _bare(source: str) -> str:
    """`bare`, once for a module that many stages import."""
    return bare(source)


def bare(source: str) -> str:
    """`source` without comments, docstrings, blank lines and the arguments of raised errors.

    >>> bare('def f():  # why\\n    "Doc."\\n    raise ValueError("no")\\n')
    'def f():\\n    raise ValueError'
    """
    lines = source.splitlines()
    cuts = [
        (t.start, t.end) for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type == tokenize.COMMENT
    ]

    def column(line: int, offset: int) -> int:
        """ast counts bytes, tokenize counts characters."""
        return len(lines[line - 1].encode()[:offset].decode())

    def cut(start: tuple[int, int], end: tuple[int, int]) -> None:
        cuts.append(((start[0], column(*start)), (end[0], column(*end))))

    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[0] if node.body else None
            if (
                isinstance(body, ast.Expr)
                and isinstance(body.value, ast.Constant)
                and isinstance(body.value.value, str)
            ):
                cut((body.lineno, body.col_offset), (body.end_lineno or 0, body.end_col_offset or 0))
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            called, whole = node.exc.func, node.exc
            cut(
                (called.end_lineno or 0, called.end_col_offset or 0), (whole.end_lineno or 0, whole.end_col_offset or 0)
            )
    for (row, col), (end_row, end_col) in _outermost(cuts):
        tail = lines[end_row - 1][end_col:]
        lines[row - 1 : end_row] = [lines[row - 1][:col] + tail] + [""] * (end_row - row)
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _outermost(
    cuts: list[tuple[tuple[int, int], tuple[int, int]]],
) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """The cuts from the last to the first, without those that lie inside another (a comment inside a raise)."""
    kept: list[tuple[tuple[int, int], tuple[int, int]]] = []
    for start, end in sorted(cuts, key=lambda c: (c[0], (-c[1][0], -c[1][1]))):
        if not kept or start >= kept[-1][1]:
            kept.append((start, end))
    return reversed(kept)


def _package_files(modules: Iterable[str], root: Path) -> Iterator[tuple[str, Path]]:
    """The files that are not Python in the packages among `modules`, sub-folders that are no packages included."""
    for module in modules:
        folder = root.joinpath(*module.split("."))
        if (folder / "__init__.py").is_file():
            for path in folder.rglob("*"):
                owner = next(p for p in path.parents if p == folder or (p / "__init__.py").is_file())
                if path.is_file() and path.suffix not in {".py", ".pyc"} and owner == folder:
                    yield path.relative_to(root).as_posix(), path


def _file(module: str, root: Path) -> Path | None:
    base = root.joinpath(*module.split("."))
    return next((f for f in (base.with_suffix(".py"), base / "__init__.py") if f.is_file()), None)


@functools.cache
def _imports(source: str, package: str) -> list[str]:
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            up = parts[: len(parts) - node.level + 1] if node.level else []
            base = ".".join([*up, *([node.module] if node.module else [])])
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return found
