# Takes:  the evaluations, trainings and verdicts of sessions, and what the judge said of them where there is one.
# Leaves: results/sweep/<sweep>.json and .html: the runs of a sweep in one table with intervals. results/report/index.html: every
#         session of the plan and every sweep side by side.
rule sweep_table:
    """Put the runs of a sweep side by side."""
    input:
        manifests=lambda wildcards: compared(runs_of(wildcards.sweep)),
        data=lambda wildcards: beside(*compared(runs_of(wildcards.sweep))),
    output:
        table="results/sweep/{sweep}.json",
        page="results/sweep/{sweep}.html",
    log:
        "logs/sweep/{sweep}.log",
    localrule: True
    conda:
        "../../envs/data.yaml"
    params:
        settings=settings("sweep", "sweep"),
        code=code("sweep"),
    message:
        "Compare the runs of the sweep {wildcards.sweep}."
    shell:
        "python -m showwork.sweep --settings {params.settings:q} --log {log} --inputs {input.manifests}"
        " --table {output.table} --page {output.page}"


rule index:
    """Write the page that compares every session and every sweep."""
    input:
        manifests=compared(all_sessions()),
        data=beside(*compared(all_sessions())),
    output:
        page=report(
            "results/report/index.html",
            caption="../report/index.rst",
            category="Sessions",
            labels={"session": "all, side by side"},
        ),
    log:
        "logs/report/index.log",
    localrule: True
    conda:
        "../../envs/data.yaml"
    params:
        settings=settings("index"),
        code=code("index"),
    message:
        "Write the page that compares every session and every sweep."
    shell:
        "python -m showwork.index --settings {params.settings:q} --log {log} --inputs {input.manifests}"
        " --page {output.page}"
