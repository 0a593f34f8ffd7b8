"""Drives real Snakemake in process: which jobs would run now, in what words, and a finished run without running it."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPO = Path(__file__).parents[1]
PARTS = ("Snakefile", "config.yaml", "workflow", "profiles", "envs", "src")

Job = tuple[str, ...]


def copy_repo(to: Path) -> Path:
    """The workflow and the package, without results."""
    for part in PARTS:
        source = REPO / part
        if source.is_dir():
            shutil.copytree(source, to / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            to.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, to / part)
    return to


@contextlib.contextmanager
def own_modules(repo: Path) -> Iterator[None]:
    """The Snakefile under test imports the package of `repo`; afterwards this process has its own again."""
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "showwork"}
    path, folder = list(sys.path), os.getcwd()
    sys.path[:] = [p for p in path if not (Path(p) / "showwork").is_dir()]
    try:
        yield
    finally:
        for name in [n for n in sys.modules if n.split(".")[0] == "showwork"]:
            del sys.modules[name]
        sys.modules.update(kept)
        sys.path[:] = path
        os.chdir(folder)


@contextlib.contextmanager
def built(repo: Path, targets: set[str], workdir: Path | None = None, overlays: tuple[Path, ...] = ()) -> Iterator[Any]:
    """Snakemake's DAG after a dry-run."""
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings

    workdir = workdir or repo
    with (
        own_modules(repo),
        contextlib.chdir(workdir),
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
        SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api,
    ):
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=8),
            config_settings=ConfigSettings(configfiles=list(overlays)),
            snakefile=repo / "Snakefile",
            workdir=workdir,
        )
        workflow.dag(dag_settings=DAGSettings(targets=targets)).execute_workflow(executor="dryrun")
        yield workflow._workflow.dag


def plan(repo: Path, *targets: str, workdir: Path | None = None, overlays: tuple[Path, ...] = ()) -> dict[Job, str]:
    """{(rule, wildcard values…): reason} of the jobs that Snakemake would run now."""
    with built(repo, set(targets), workdir, overlays) as dag:
        return {
            (job.rule.name, *job.wildcards): str(dag.reason(job))
            for job in dag.needrun_jobs(exclude_finished=False)
            if not job.rule.norun
        }


def finish(repo: Path, *targets: str, workdir: Path | None = None, overlays: tuple[Path, ...] = ()) -> None:
    """Make every output of `targets` stand as if its job had run: empty files, then Snakemake's own `--touch`."""
    workdir = workdir or repo
    with built(repo, set(targets), workdir, overlays) as dag:
        outputs = [str(f) for job in dag.jobs for f in job.output]
    for name in outputs:
        (workdir / name).parent.mkdir(parents=True, exist_ok=True)
        (workdir / name).write_text(f"{name}\n")
    command = [sys.executable, "-m", "snakemake", "--cores", "8", "--touch", "--forceall", *targets]
    command += ["--snakefile", str(repo / "Snakefile"), "--directory", str(workdir)]
    command += ["--configfile", *map(str, overlays)] if overlays else []
    done = subprocess.run(command, cwd=workdir, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
