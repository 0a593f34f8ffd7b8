# The plan, in the order the data flows: download → sample → standardize → mix → pack → train → evaluate → verdict → export → report.
#
#   snakemake --cores 8 session1        build everything session 1 needs that is missing or stale
#   snakemake -n session1               only say what would run, and why
#   snakemake --cores 8 data            all mixes, no training
#   snakemake --cores 8 plan            what training would cost, before anything is trained
#   snakemake --cores 8 sweep           every run of the sweeps in config.yaml, each compared in results/sweep/
#   snakemake --cores 1 lock            resolve the revisions that config.yaml leaves open
from snakemake.utils import min_version

min_version("9.19")


include: "workflow/rules/common.smk"


# ---- targets -----------------------------------------------------------------
rule all:
    """Every session's report, and the page that compares them."""
    default_target: True
    input:
        collect("results/report/{session}.html", session=SESSIONS),
        "results/report/index.html",


for SESSION in SESSIONS:

    rule:
        name:
            SESSION
        input:
            session_target(SESSION),
        message:
            "Session complete; its report is results/report/{rule}.html."


rule data:
    """Every session's mix; nothing is trained."""
    input:
        collect("results/mix/{session}/manifest.json", session=SESSIONS),


rule plan:
    """What every session's training will cost; nothing is trained."""
    input:
        collect("results/plan/{session}.txt", session=BY_METHOD["sft"]),


rule sweep:
    """Every run of every sweep, compared."""
    input:
        sweep_target,


# ---- stages ------------------------------------------------------------------
include: "workflow/rules/demo.smk"
include: "workflow/rules/download.smk"
include: "workflow/rules/sample.smk"
include: "workflow/rules/standardize.smk"
include: "workflow/rules/heldout.smk"
include: "workflow/rules/mix.smk"
include: "workflow/rules/pack.smk"
include: "workflow/rules/plan.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/verdict.smk"
include: "workflow/rules/judge.smk"
include: "workflow/rules/export.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/compare.smk"
