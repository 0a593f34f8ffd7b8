# Takes:  the manifests of every stage of a session.
# Leaves: results/report/<session>.html: one page that opens without a network.
def everything_of(wildcards):
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
        f"results/mix/{session}/manifest.json",
        f"results/pack/{session}/manifest.json",
        f"results/plan/{session}.json",
        f"results/train/{session}/manifest.json",
        "results/evaluate/base/manifest.json",
        f"results/evaluate/{session}/manifest.json",
        f"results/export/{session}/certificate.json",
    ]


rule report:
    """Write one page that shows what happened in a session."""
    input:
        everything_of,
    output:
        page=report(
            "results/report/{session}.html",
            caption="../report/session.rst",
            category="Sessions",
            labels={"session": "{session}"},
        ),
    log:
        "logs/report/{session}.log",
    localrule: True
    conda:
        "../../envs/data.yaml"
    params:
        settings=settings("report", "session"),
        code=code("report"),
    message:
        "Write the report of {wildcards.session}."
    shell:
        "python -m showwork.report --settings {params.settings:q} --log {log} --session {wildcards.session}"
        " --inputs {input} --page {output.page}"
