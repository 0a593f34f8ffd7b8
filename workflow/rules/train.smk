# Takes:  a session's packed rows, the base, the session it starts from, the certificate that they share no row.
# Leaves: results/train/<session>/: the adapter and its history. Checkpoints lie in work/train, undeclared, because
#         Snakemake deletes declared outputs before a job starts: the same command resumes where it stopped.
rule train:
    """Train one session; resumes by itself after an interruption."""
    input:
        pack="results/pack/{session}/manifest.json",
        rows=ancient(
            multiext(
                "results/pack/{session}/",
                "tokens.npy",
                "loss_mask.npy",
                "segment_ids.npy",
                "positions.npy",
            )
        ),
        base="results/download/base.json",
        disjoint="results/mix/{session}/disjoint.json",
        start=start_adapter,
    output:
        adapter="results/train/{session}/adapter/adapter.safetensors",
        history="results/train/{session}/history.jsonl",
        manifest="results/train/{session}/manifest.json",
    log:
        "logs/train/{session}.log",
    benchmark:
        "logs/benchmarks/train/{session}.tsv"
    priority: earlier_first
    conda:
        "../../envs/train.yaml"
    threads: 64  # all that --cores gives: the same count gives the same bits
    resources:
        gpu=1,
    params:
        settings=settings("train", "session"),
        code=code("train"),
        start=lambda wildcards, input: f"--start {input.start}" if input.start else "",
    message:
        "Train {wildcards.session}."
    shell:
        "python -m showwork.train --settings {params.settings:q} --log {log} --pack {input.pack} --base {input.base}"
        " {params.start} --work work/train --adapter {output.adapter} --history {output.history}"
        " --manifest {output.manifest}"
