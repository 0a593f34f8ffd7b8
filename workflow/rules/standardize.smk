# Takes:  a sample in its source's own columns.
# Leaves: records (question, trace, answer), the rows that became none with a typed reason, a manifest.
rule standardize:
    """Turn the rows of a sample into records."""
    input:
        sample="results/sample/{sample}.json",
        rows=ancient("results/sample/{sample}.parquet"),
    output:
        records="results/standardize/{sample}.parquet",
        rejected="results/standardize/{sample}.rejected.parquet",
        manifest="results/standardize/{sample}.json",
    log:
        "logs/standardize/{sample}.log",
    benchmark:
        "logs/benchmarks/standardize/{sample}.tsv"
    priority: earlier_first
    localrule: DATA_LOCAL
    conda:
        "../../envs/data.yaml"
    threads: 1
    params:
        settings=settings("standardize", "sample"),
        code=code("standardize"),
    message:
        "Standardize {wildcards.sample} into question, trace and answer."
    shell:
        "python -m showwork.standardize --settings {params.settings:q} --log {log} --sample {input.sample}"
        " --records {output.records} --rejected {output.rejected} --manifest {output.manifest}"
        " --threads {threads}"
