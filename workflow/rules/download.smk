# Takes:  what a sample needs of its source at one pinned revision; the base model likewise.
# Leaves: results/download/<sample>.json: files, sizes, sha256. The files themselves lie in work/download, undeclared,
#         because Snakemake deletes declared outputs before a job starts, and a transfer must be able to resume.
rule download:
    """Fetch, or list in place, the files that one sample needs."""
    input:
        demo=lambda wildcards: demo_manifest(wildcards.sample),
    output:
        manifest="results/download/{sample}.json",
    log:
        "logs/download/{sample}.log",
    priority: earlier_first
    localrule: True
    conda:
        "../../envs/data.yaml"
    params:
        settings=settings("download", "sample"),
        local=lambda wildcards: local_content(wildcards.sample),
        code=code("download"),
    message:
        "Download what sample {wildcards.sample} needs."
    shell:
        "python -m showwork.download --settings {params.settings:q} --log {log}"
        " --manifest {output.manifest} --blobs work/download"


rule download_base:
    """Fetch, or list in place, the base model."""
    input:
        demo=demo_manifest("base"),
    output:
        manifest="results/download/base.json",
    log:
        "logs/download/base.log",
    localrule: True
    conda:
        "../../envs/data.yaml"
    params:
        settings=canonical(slices.download(CONFIG, "base")),
        local=local_content("base"),
        code=code("download"),
    message:
        "Download the base model."
    shell:
        "python -m showwork.download --settings {params.settings:q} --log {log}"
        " --manifest {output.manifest} --blobs work/download"


# Takes:  the revisions and files of config.yaml, as they stand there.
# Leaves: sources.lock, undeclared: Snakemake deletes declared outputs before a job starts, and a hub that does not answer
#         must not cost the old lock. Without an output the job runs whenever it is asked for: a branch may have moved.
rule lock:
    """Resolve every revision that the configuration leaves open, and record what each holds in sources.lock."""
    log:
        "logs/lock/sources.log",
    localrule: True
    conda:
        "../../envs/data.yaml"
    params:
        settings=canonical(slices.lock(CONFIG_WITHOUT_LOCK)),
    message:
        "Resolve the revisions that config.yaml leaves open and write sources.lock."
    shell:
        "python -m showwork.lock --settings {params.settings:q} --log {log} --lock sources.lock"
