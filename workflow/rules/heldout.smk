# Takes:  the records of the samples that `held_out.samples` names.
# Leaves: results/heldout/prompts.parquet: the questions that the base and every session are asked, with gold answers.
rule heldout:
    """Choose the held-out questions that the base and every session are asked."""
    input:
        records=collect(
            "results/standardize/{sample}.json", sample=CONFIG["held_out"]["samples"]
        ),
        data=beside(
            *collect(
                "results/standardize/{sample}.json",
                sample=CONFIG["held_out"]["samples"],
            )
        ),
    output:
        prompts="results/heldout/prompts.parquet",
        manifest="results/heldout/prompts.json",
    log:
        "logs/heldout/prompts.log",
    priority: len(SESSIONS)
    localrule: DATA_LOCAL
    conda:
        "../../envs/data.yaml"
    params:
        settings=settings("heldout"),
        code=code("heldout"),
    message:
        "Choose the held-out questions."
    shell:
        "python -m showwork.heldout --settings {params.settings:q} --log {log} --records {input.records}"
        " --prompts {output.prompts} --manifest {output.manifest}"
