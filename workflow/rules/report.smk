# Takes:  the manifests of every stage of a session.
# Leaves: results/report/<session>.html: one page that opens without a network.
rule report:
    """Write one page that shows what happened in a session."""
    input:
        manifests=everything_of,
        data=lambda wildcards: beside(*everything_of(wildcards)),
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
        " --inputs {input.manifests} --page {output.page}"
