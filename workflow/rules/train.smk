# Takes:  a session's packed rows, the base, the session it starts from, the certificate that they share no row.
# Leaves: results/train/<session>/: the adapter and its history. Checkpoints lie in work/train, undeclared, because
#         Snakemake deletes declared outputs before a job starts: the same command resumes where it stopped.
rule train:
    """Train one session; resumes by itself after an interruption."""
    input:
        pack=pack_of,
        rows=lambda wildcards: packed_rows(pack_of(wildcards)),
        base="results/download/base.json",
        disjoint=file_beside(mix_of, "disjoint.json"),
        start=start_adapter,
        start_data=start_data,
    output:
        adapter="results/train/{session}/adapter/adapter.safetensors",
        history="results/train/{session}/history.jsonl",
        manifest="results/train/{session}/manifest.json",
    log:
        "logs/train/{session}.log",
    benchmark:
        "logs/benchmarks/train/{session}.tsv"
    wildcard_constraints:
        session=one_of(BY_METHOD["sft"]),
    priority: earlier_first
    conda:
        "../../envs/train.yaml"
    threads: 64  # all that --cores gives: the same count gives the same bits
    resources:
        gpu=1,
        processes=1,  # that train together, on one machine or on several: profiles/slurm
        mesh="auto",  # rows split over all devices; fsdp: large weights too
    params:
        settings=settings("train", "session"),
        code=code("train"),
        start=start_option,
        local=start_content,
    message:
        "Train {wildcards.session}."
    shell:
        "python -m showwork.train --settings {params.settings:q} --log {log} --pack {input.pack} --base {input.base}"
        " {params.start} --work work/train --adapter {output.adapter} --history {output.history}"
        " --manifest {output.manifest} --processes {resources.processes} --mesh {resources.mesh}"


# Takes:  a session's records as prompts, the base, the session it starts from, the same certificate.
# Leaves: results/train/<session>/ as above; the history has a line for each batch of rollouts.
rule grpo:
    """Train one session on rewards for its own rollouts; resumes by itself after an interruption."""
    input:
        mix=mix_of,
        records=lambda wildcards: ancient(
            file_beside(mix_of, "train.parquet")(wildcards)
        ),
        base="results/download/base.json",
        disjoint=file_beside(mix_of, "disjoint.json"),
        start=start_adapter,
        start_data=start_data,
    output:
        adapter="results/train/{session}/adapter/adapter.safetensors",
        history="results/train/{session}/history.jsonl",
        manifest="results/train/{session}/manifest.json",
    log:
        "logs/train/{session}.log",
    benchmark:
        "logs/benchmarks/train/{session}.tsv"
    wildcard_constraints:
        session=one_of(BY_METHOD["grpo"]),
    priority: earlier_first
    conda:
        "../../envs/train.yaml"
    threads: 64
    resources:
        gpu=1,
    params:
        settings=settings("grpo", "session"),
        code=code("grpo"),
        start=start_option,
        local=start_content,
        rewards=reward_code,
    message:
        "Train {wildcards.session} on rewards for what it writes."
    shell:
        "python -m showwork.grpo --settings {params.settings:q} --log {log} --mix {input.mix} --base {input.base}"
        " {params.start} --work work/train --adapter {output.adapter} --history {output.history}"
        " --manifest {output.manifest}"


# Takes:  the verdict on the session it starts from, and all that any choice needs: that session's packed rows (more epochs), its
#         own records (rewards), the base.
# Leaves: as above, and choice.json: what was chosen, and why. The plan is the same whatever is chosen.
rule auto:
    """Train one session as the verdict on its start says: on rewards, longer on the same rows, or not at all."""
    input:
        verdict=lambda wildcards: f"results/verdict/{start_of(wildcards)}.json",
        pack=lambda wildcards: f"results/pack/{start_of(wildcards)}/manifest.json",
        mix=mix_of,
        base="results/download/base.json",
        disjoint=file_beside(mix_of, "disjoint.json"),
        start=start_adapter,
        start_data=start_data,
        data=lambda wildcards: beside(
            f"results/pack/{start_of(wildcards)}/manifest.json",
            mix_of(wildcards),
        ),
    output:
        adapter="results/train/{session}/adapter/adapter.safetensors",
        history="results/train/{session}/history.jsonl",
        choice="results/train/{session}/choice.json",
        manifest="results/train/{session}/manifest.json",
    log:
        "logs/train/{session}.log",
    benchmark:
        "logs/benchmarks/train/{session}.tsv"
    wildcard_constraints:
        session=one_of(BY_METHOD["auto"]),
    priority: earlier_first
    conda:
        "../../envs/train.yaml"
    threads: 64
    resources:
        gpu=1,
    params:
        settings=settings("auto", "session"),
        code=" ".join(code(stage) for stage in ("auto", "train", "grpo")),
        local=start_content,
        rewards=reward_code,
    message:
        "Train {wildcards.session} as the verdict says."
    shell:
        "python -m showwork.auto --settings {params.settings:q} --log {log} --verdict {input.verdict} --pack {input.pack}"
        " --mix {input.mix} --base {input.base} --start {input.start} --work work/train --adapter {output.adapter}"
        " --history {output.history} --choice {output.choice} --manifest {output.manifest}"
