# Takes:  the base's or a session's evaluation, an OpenAI-compatible endpoint; for a session, what was said of the base.
# Leaves: results/judge/<base or session>/: scores by a rubric, means, differences from the base. Only where `judge` is set.
rule judge:
    """Let another model grade what the base or one session wrote."""
    input:
        evaluation="results/evaluate/{model}/manifest.json",
        base=lambda wildcards: (
            [] if wildcards.model == "base" else "results/judge/base/manifest.json"
        ),
        data=lambda wildcards: beside(
            f"results/evaluate/{wildcards.model}/manifest.json",
            *(
                []
                if wildcards.model == "base"
                else ["results/judge/base/manifest.json"]
            ),
        ),
    output:
        scores="results/judge/{model}/scores.parquet",
        metrics="results/judge/{model}/metrics.json",
        manifest="results/judge/{model}/manifest.json",
    log:
        "logs/judge/{model}.log",
    conda:
        "../../envs/data.yaml"
    params:
        settings=settings("judge", "model"),
        code=code("judge"),
        base=lambda wildcards, input: f"--base {input.base}" if input.base else "",
    message:
        "Let the judge grade {wildcards.model}."
    shell:
        "python -m showwork.judge --settings {params.settings:q} --log {log} --evaluation {input.evaluation} {params.base}"
        " --work work/judge --scores {output.scores} --metrics {output.metrics} --manifest {output.manifest}"
