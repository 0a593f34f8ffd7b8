# Takes:  the held-out questions, the base, a session's adapter (none for the base itself).
# Leaves: results/evaluate/<base or session>/: every generation and the measures with intervals, of
#         the user's own questions too, whose files are read by content (params.questions).
rule evaluate:
    """Ask the base or one session every held-out question."""
    input:
        prompts="results/heldout/prompts.json",
        base="results/download/base.json",
        adapter=lambda wildcards: (
            []
            if wildcards.model == "base"
            else f"results/train/{wildcards.model}/manifest.json"
        ),
        data=lambda wildcards: beside(
            "results/heldout/prompts.json",
            *(
                []
                if wildcards.model == "base"
                else [f"results/train/{wildcards.model}/manifest.json"]
            ),
        ),
    output:
        metrics="results/evaluate/{model}/metrics.json",
        generations="results/evaluate/{model}/generations.parquet",
        questions="results/evaluate/{model}/questions.parquet",
        manifest="results/evaluate/{model}/manifest.json",
    log:
        "logs/evaluate/{model}.log",
    benchmark:
        "logs/benchmarks/evaluate/{model}.tsv"
    conda:
        "../../envs/train.yaml"
    threads: 64
    resources:
        gpu=1,
    params:
        settings=settings("evaluate", "model"),
        code=code("evaluate"),
        questions=questions_content(),
        adapter=lambda wildcards, input: (
            f"--adapter {input.adapter}" if input.adapter else ""
        ),
    message:
        "Evaluate {wildcards.model} on the held-out questions."
    shell:
        "python -m showwork.evaluate --settings {params.settings:q} --log {log} --base {input.base}"
        " --prompts {input.prompts} {params.adapter} --metrics {output.metrics} --generations {output.generations}"
        " --questions {output.questions} --work work --manifest {output.manifest}"
