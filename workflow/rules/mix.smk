# Takes:  a session's standardized samples, the mixes of the sessions before it, the held-out questions; the user's own
#         questions, whose files are read by content (params.questions).
# Leaves: results/mix/<session>/: the shuffled records without duplicates, what was removed and why, and the certificate
#         that no row is shared with an earlier session or with the held-out questions. results/publish/<name>/ to upload.
rule mix:
    """Join, deduplicate and shuffle one session's samples."""
    input:
        records=lambda wildcards: collect(
            "results/standardize/{sample}.json", sample=samples_of(wildcards.session)
        ),
        earlier=earlier_mixes,
        heldout="results/heldout/prompts.json",
        data=lambda wildcards: beside(
            *collect(
                "results/standardize/{sample}.json",
                sample=samples_of(wildcards.session),
            ),
            "results/heldout/prompts.json",
        ),
        # Of an earlier mix only what is read: a plan of many sessions in a row is mostly these files.
        earlier_data=lambda wildcards: [
            ancient(str(Path(mix).with_name("train.parquet")))
            for mix in earlier_mixes(wildcards)
        ],
    output:
        train="results/mix/{session}/train.parquet",
        removed="results/mix/{session}/removed.parquet",
        disjoint="results/mix/{session}/disjoint.json",
        manifest="results/mix/{session}/manifest.json",
    log:
        "logs/mix/{session}.log",
    benchmark:
        "logs/benchmarks/mix/{session}.tsv"
    priority: earlier_first
    localrule: DATA_LOCAL
    conda:
        "../../envs/data.yaml"
    params:
        settings=settings("mix", "session"),
        code=code("mix"),
        questions=questions_content(),
        earlier=lambda wildcards, input: (
            f"--earlier {' '.join(input.earlier)}" if input.earlier else ""
        ),
    message:
        "Mix {wildcards.session}: join its samples, remove duplicates, shuffle."
    shell:
        "python -m showwork.mix --settings {params.settings:q} --log {log} --records {input.records} {params.earlier}"
        " --heldout {input.heldout} --train {output.train} --removed {output.removed} --disjoint {output.disjoint}"
        " --manifest {output.manifest}"


rule publish:
    """Make a session's dataset ready to upload: card, notice, metadata, the samples under their names."""
    input:
        mix="results/mix/{session}/manifest.json",
        samples=lambda wildcards: collect(
            "results/sample/{sample}.json", sample=samples_of(wildcards.session)
        ),
        data=lambda wildcards: beside(
            f"results/mix/{wildcards.session}/manifest.json",
            *collect(
                "results/sample/{sample}.json", sample=samples_of(wildcards.session)
            ),
        ),
    output:
        manifest="results/publish/{session}.json",
    log:
        "logs/publish/{session}.log",
    localrule: DATA_LOCAL
    conda:
        "../../envs/data.yaml"
    params:
        settings=settings("publish", "session"),
        code=code("publish"),
    message:
        "Make the dataset of {wildcards.session} ready to upload."
    shell:
        "python -m showwork.publish --settings {params.settings:q} --log {log} --mix {input.mix}"
        " --samples {input.samples} --folder results/publish --manifest {output.manifest}"
