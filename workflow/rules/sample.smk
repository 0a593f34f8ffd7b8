# Takes:  a sample's downloaded files.
# Leaves: results/sample/<sample>.parquet in the source's own columns, the rows left out, a manifest.
rule sample:
    """Choose rows of one source."""
    input:
        download="results/download/{sample}.json",
    output:
        rows="results/sample/{sample}.parquet",
        dropped="results/sample/{sample}.dropped.parquet",
        manifest="results/sample/{sample}.json",
    log:
        "logs/sample/{sample}.log",
    benchmark:
        "logs/benchmarks/sample/{sample}.tsv"
    priority: earlier_first
    localrule: DATA_LOCAL
    conda:
        "../../envs/data.yaml"
    params:
        settings=settings("sample", "sample"),
        code=code("sample"),
    message:
        "Sample {wildcards.sample}."
    shell:
        "python -m showwork.sample --settings {params.settings:q} --log {log} --download {input.download}"
        " --rows {output.rows} --dropped {output.dropped} --manifest {output.manifest}"
