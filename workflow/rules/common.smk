# Helpers only: the checked configuration, the slices that jobs see, the names of files. No rules in this file.
import sys
from glob import escape
from pathlib import Path
from shlex import quote

REPO = Path(workflow.basedir)
sys.path.insert(0, str(REPO / "src"))

from showwork.foundation import running, slices
from showwork.foundation.config import ConfigError, checked_config, is_folder
from showwork.foundation.files import canonical, read_json
from showwork.foundation.fingerprints import fingerprint
from showwork.foundation.provenance import code_version, user_code
from showwork.sources.lock import read_lock
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger


# The recipe; `--configfile` overlays lie over it, `--directory` only moves where results go.
configfile: str(REPO / "config.yaml")


try:
    CONFIG = checked_config(
        config,
        files=[REPO / "config.yaml", *map(Path, workflow.overwrite_configfiles)],
        schema_file=REPO / "workflow/schemas/config.schema.yaml",
    )
except ConfigError as error:
    raise WorkflowError(
        "The configuration has problems; no job was started:",
        *(f"  {problem}" for problem in error.problems),
    ) from None

CONFIG_WITHOUT_LOCK = CONFIG
try:
    CONFIG = slices.with_lock(CONFIG, read_lock(Path("sources.lock")))
except ValueError as error:
    raise WorkflowError(f"{error}; no job was started") from None
for sentence in slices.unresolved(CONFIG):
    logger.warning(f"Note: {sentence}.")

# A killed Snakemake leaves its lock behind; the same command is to go on.
if workflow.is_main_process and running.register():
    logger.warning(
        "Note: the Snakemake that held this folder is dead; its lock was removed."
    )

if workflow.is_main_process and (ahead := running.no_time_to_come()):
    logger.warning(
        f"Note: {ahead:,} products were made while the clock was ahead of now; they were given times that have been."
    )

# The one setting that says where the data rules run, in a profile: `default-resources: {data_as_jobs: 1}` submits them.
_given = workflow.resource_settings.default_resources
DATA_LOCAL = not (_given and "data_as_jobs" in _given and _given["data_as_jobs"].value)

# The sessions of the plan; the runs of sweeps are sessions too, for every rule, but only their own targets ask for them.
SESSIONS = [name for name, s in CONFIG["sessions"].items() if "of_sweep" not in s]
TRAINABLE = list(CONFIG["sessions"])
SWEEPS = list(CONFIG["sweep"])
SAMPLES = list(CONFIG["samples"])
BY_METHOD = {
    method: [s for s in TRAINABLE if slices.method(CONFIG, s) == method]
    for method in ("sft", "grpo", "auto")
}

# Every shell command finds the package, installed or not, and the interpreter that runs Snakemake.
_bin = (
    ""
    if workflow.deployment_settings.deployment_method
    else f'PATH="{Path(sys.executable).parent}:$PATH" '
)
shell.prefix(f'export {_bin}PYTHONPATH="{REPO / "src"}"; ')


wildcard_constraints:
    sample="|".join(SAMPLES),
    session="|".join(TRAINABLE),
    model="|".join(["base", *TRAINABLE]),
    sweep="|".join(SWEEPS) or "(?!)",


def settings(stage, key=None):
    """Canonical JSON of the slice of the configuration that a job of this stage may see."""
    slice_of = getattr(slices, stage)
    if key is None:
        return canonical(slice_of(CONFIG))
    return lambda wildcards: canonical(slice_of(CONFIG, wildcards[key]))


def code(stage):
    """Hash of the code that a stage would execute, comments and error texts apart."""
    return code_version(f"showwork.{stage}")


def samples_of(session):
    return CONFIG["sessions"][session]["samples"]


def earlier_first(wildcards):
    """Priority of a job: what an earlier session needs goes first, so that it can train while later data are made."""
    sample, session = wildcards.get("sample"), wildcards.get("session")
    if session is None:
        needing = [s for s in SESSIONS if sample in samples_of(s)]
        first = sample in CONFIG["held_out"]["samples"]
        session = SESSIONS[0] if first or not needing else needing[0]
    if session not in SESSIONS:
        return 0
    return len(SESSIONS) - SESSIONS.index(session)


def session_target(session):
    """What `snakemake <session>` leaves; named one by one, so that a product that was deleted is built again."""
    wanted = [
        f"results/report/{session}.html",
        f"results/mix/{session}/train.parquet",
        f"results/train/{session}/adapter/adapter.safetensors",
        f"results/evaluate/{session}/metrics.json",
        f"results/verdict/{session}.json",
        f"results/export/{session}/certificate.json",
    ]
    if CONFIG["sessions"][session]["publish"]:
        wanted.append(f"results/publish/{session}.json")
    if CONFIG["judge"]:
        wanted.append(f"results/judge/{session}/metrics.json")
    return wanted


def runs_of(sweep):
    """The sessions that stand for the runs of a sweep, each once."""
    return list(
        dict.fromkeys(run["session"] for run in CONFIG["sweep"][sweep]["runs"].values())
    )


def compared(sessions):
    """The manifests that say how these sessions and the base do: evaluation, training, verdict, what the judge said."""
    judged = ["base", *sessions] if CONFIG["judge"] else []
    return [
        *collect("results/evaluate/{model}/manifest.json", model=["base", *sessions]),
        *collect("results/train/{session}/manifest.json", session=sessions),
        *collect("results/verdict/{session}.json", session=sessions),
        *collect("results/judge/{model}/manifest.json", model=judged),
    ]


def all_sessions():
    """The sessions of the plan, then those of every sweep."""
    return list(dict.fromkeys([*SESSIONS, *(s for w in SWEEPS for s in runs_of(w))]))


def sweep_target(wildcards):
    """What `snakemake sweep` leaves."""
    if not SWEEPS:
        raise WorkflowError(
            "sweep: the configuration has no sweep; name one, for example"
            " {rates: {session: session1, over: {learning_rate: [1.0e-5, 4.0e-5]}}}"
        )
    return collect("results/sweep/{sweep}.{kind}", sweep=SWEEPS, kind=["json", "html"])


def mix_of(wildcards):
    """Manifest of the mix that a session trains on."""
    return f"results/mix/{slices.mixed(CONFIG, wildcards.session)}/manifest.json"


def pack_of(wildcards):
    """Manifest of the packed rows that a session trains on."""
    return f"results/pack/{slices.mixed(CONFIG, wildcards.session)}/manifest.json"


def packed_rows(manifest):
    """The arrays beside the manifest of packed rows, without the ledger: training reads no more."""
    arrays = ("tokens", "loss_mask", "segment_ids", "positions")
    return [ancient(str(Path(manifest).with_name(f"{n}.npy"))) for n in arrays]


def file_beside(manifest_of, name):
    """A file beside the manifest that a function of the wildcards names."""
    return lambda wildcards: str(Path(manifest_of(wildcards)).with_name(name))


def earlier_mixes(wildcards):
    """Manifests of the mixes of every session that this one builds on."""
    return collect(
        "results/mix/{session}/manifest.json",
        session=slices.chain(CONFIG, wildcards.session),
    )


def one_of(names):
    """A wildcard constraint: one of these names, or nothing at all when there are none."""
    return "|".join(names) or "(?!)"


def start_of(wildcards):
    """The session that this one starts from."""
    return CONFIG["sessions"][wildcards.session]["start_from"]


DATA_BESIDE = {
    "sample": ["{name}.parquet", "{name}.dropped.parquet"],
    "standardize": ["{name}.parquet", "{name}.rejected.parquet"],
    "heldout": ["{name}.parquet"],
    "mix": ["train.parquet", "removed.parquet"],
    "pack": [
        *(f"{n}.npy" for n in ("tokens", "loss_mask", "segment_ids", "positions")),
        "ledger.parquet",
    ],
    "train": ["adapter/adapter.safetensors", "history.jsonl"],
    "evaluate": ["metrics.json", "generations.parquet", "questions.parquet"],
    "judge": ["scores.parquet", "metrics.json"],
}


def beside(*manifests):
    """The data files of manifests, as inputs: one that was deleted, or quarantined as damaged, is so built again.

    They are ancient: what makes a job stale is the manifest, which holds their digests.
    """
    return [
        ancient(str(Path(manifest).parent / file.format(name=Path(manifest).stem)))
        for manifest in manifests
        for file in DATA_BESIDE.get(Path(manifest).parts[1], [])
    ]


def start_adapter(wildcards):
    """Manifest of the session that this one continues from; nothing when it starts from the base or a folder."""
    start = start_of(wildcards)
    return f"results/train/{start}/manifest.json" if start in SESSIONS else []


def start_data(wildcards):
    """The data of the session that this one continues from."""
    start = start_adapter(wildcards)
    return beside(start) if start else []


def start_option(wildcards, input):
    """The command line's --start."""
    start = start_of(wildcards)
    return "" if start == "base" else f"--start {quote(str(input.start or start))}"


def start_content(wildcards):
    """Digest of the folders from elsewhere that a session starts from or is held against, so that an edit is noticed."""
    named = [start_of(wildcards)]
    how = slices.rewarded(CONFIG, wildcards.session)
    named += [how["reference"] or "base"] if how else []
    return {
        name: fingerprint(Path(name), ["*.safetensors", "*config.json"])
        for name in named
        if is_folder(name)
    } or None


def reward_code(wildcards):
    """Hash of the user's own reward functions, which count as code."""
    how = slices.rewarded(CONFIG, wildcards.session)
    return {path: user_code(path) for path in sorted(how["rewards"]) if ":" in path}


def local_folder(name):
    """The folder of a local source or base, or None when it lies on the hub."""
    if name == "base":
        return CONFIG["model"]["path"]
    return CONFIG["sources"][CONFIG["samples"][name]["source"]]["path"]


def local_content(name):
    """Digest of the local files that a download job would list, so that an edit of them is noticed."""
    wanted = slices.download(CONFIG, name)
    folder = local_folder(name)
    if folder is None or generated(folder):
        return None
    return fingerprint(Path(folder), wanted["files"])


def questions_content():
    """Digests of the files with the user's own questions, so that an edit of them is noticed; None without any."""
    files = CONFIG["evaluate"]["questions"]
    found = {
        name: fingerprint(Path(file).parent, [escape(Path(file).name)])
        for name, file in files.items()
    }
    return canonical(found) if found else None


def generated(folder):
    """Whether the demo generates this folder, so that its manifest says what is in it."""
    return CONFIG["demo"] is not None and Path(folder).parts[:1] == ("sources",)


def demo_manifest(name):
    """Manifest of the generated world, for a local folder that the demo generates."""
    folder = local_folder(name)
    return ["sources/manifest.json"] if folder and generated(folder) else []


def everything_of(wildcards):
    """The manifests of every stage of a session: what its page is made from."""
    session = wildcards.session
    samples = samples_of(session)
    return [
        *collect(
            "results/{stage}/{sample}.json",
            stage=["download", "sample", "standardize"],
            sample=samples,
        ),
        "results/download/base.json",
        "results/heldout/prompts.json",
        mix_of(wildcards),
        pack_of(wildcards),
        *([f"results/plan/{session}.json"] if session in BY_METHOD["sft"] else []),
        f"results/train/{session}/manifest.json",
        *collect(
            "results/evaluate/{model}/manifest.json",
            model=["base", *slices.chain(CONFIG, session), session],
        ),
        f"results/verdict/{session}.json",
        *(
            collect("results/judge/{model}/manifest.json", model=["base", session])
            if CONFIG["judge"]
            else []
        ),
        f"results/export/{session}/certificate.json",
    ]
