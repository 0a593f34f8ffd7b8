"""The profiles as far as a dry run and a file go: they plan, they say of each line why, and they are labelled as what they are."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from seconds import REPO, run

PROFILES = {p.parent.name: p for p in sorted((REPO / "profiles").glob("*/profile.v9+.yaml"))}
NEEDS = {"slurm": "snakemake_executor_plugin_slurm", "cluster-generic": "snakemake_executor_plugin_cluster_generic"}
COMMON = ("rerun-incomplete", "show-failed-logs", "keep-going", "quiet", "rerun-triggers")


@pytest.fixture(params=sorted(set(PROFILES) - {"default"}))
def profile(request: pytest.FixtureRequest) -> str:
    if request.param in NEEDS and importlib.util.find_spec(NEEDS[request.param]) is None:
        pytest.skip(f"{NEEDS[request.param]} is not installed: pip install -e '.[cluster]'")
    return request.param


def test_there_are_profiles_for_slurm_for_other_schedulers_and_for_kubernetes() -> None:
    assert set(PROFILES) == {"default", "slurm", "cluster-generic", "kubernetes"}


def test_a_profile_plans_the_session(profile: str, tmp_path: Path) -> None:
    code, said = run(tmp_path / "run", "-n", "session1", "--workflow-profile", profile)
    assert code == 0, said
    assert "Train session1." in said
    assert not (tmp_path / "run/results").exists()


def test_a_profile_repeats_what_the_default_one_sets(profile: str) -> None:
    default, own = (yaml.safe_load(PROFILES[name].read_text()) for name in ("default", profile))
    assert {key: own[key] for key in COMMON} == {key: default[key] for key in COMMON}


def test_rules_that_a_profile_names_exist(profile: str) -> None:
    own = yaml.safe_load(PROFILES[profile].read_text())
    rules = {
        r for f in (REPO / "workflow/rules").glob("*.smk") for r in re.findall(r"^ *rule (\w+):", f.read_text(), re.M)
    }
    with_gpu = {"train", "grpo", "auto", "evaluate"}
    assert set(own.get("set-threads", {})) | set(own.get("set-resources", {})) <= rules
    if "set-resources" in own:
        assert {rule for rule, wanted in own["set-resources"].items() if wanted.get("gpu")} == with_gpu
        assert all({"mem_mb", "runtime"} <= wanted.keys() for wanted in own["set-resources"].values())


def test_what_was_never_run_on_a_cluster_says_so() -> None:
    for name in ("cluster-generic/profile.v9+.yaml", "kubernetes/profile.v9+.yaml", "kubernetes/job.yaml"):
        assert "never against" in (REPO / "profiles" / name).read_text().split("\n\n")[0], name


def test_the_pod_runs_the_documented_command_on_one_volume() -> None:
    spec = yaml.safe_load((REPO / "profiles/kubernetes/job.yaml").read_text())["spec"]
    pod = spec["template"]["spec"]
    (container,), (volume,) = pod["containers"], pod["volumes"]
    assert container["command"] == ["snakemake", "--workflow-profile", "kubernetes", "session1"]
    assert container["volumeMounts"] == [{"name": volume["name"], "mountPath": container["workingDir"]}]
    assert "persistentVolumeClaim" in volume
    assert (spec["backoffLimit"] > 0, pod["restartPolicy"]) == (True, "Never")
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1


@pytest.mark.parametrize(
    ("qstat", "status"),
    [
        ("    job_state = R\n", "running"),
        ("    job_state = Q\n", "running"),
        ("    job_state = F\n    Exit_status = 0\n", "success"),
        ("    job_state = F\n    Exit_status = 75\n", "failed"),
        (None, "failed"),
    ],
)
def test_the_state_of_a_pbs_job_becomes_one_word(qstat: str | None, status: str, tmp_path: Path) -> None:
    said = tmp_path / "said"
    said.write_text(qstat or "")
    stand_in = tmp_path / "qstat"
    stand_in.write_text(f"#!/bin/sh\n{'exit 1' if qstat is None else f'cat {said}'}\n")
    stand_in.chmod(0o755)
    done = subprocess.run(
        [REPO / "profiles/cluster-generic/pbs-status", "1.pbs"], capture_output=True, text=True, check=True,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.stdout == f"{status}\n"
