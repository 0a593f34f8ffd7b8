# Takes:  a session's mix and the base model's tokenizer.
# Leaves: results/pack/<session>/: memory-mapped rows of max_seq_length tokens with loss mask, segments and positions, and
#         a ledger from every record to its packed row.
rule pack:
    """Tokenize one session's records and pack them into rows."""
    input:
        mix="results/mix/{session}/manifest.json",
        train=ancient("results/mix/{session}/train.parquet"),
        base="results/download/base.json",
    output:
        tokens="results/pack/{session}/tokens.npy",
        loss_mask="results/pack/{session}/loss_mask.npy",
        segment_ids="results/pack/{session}/segment_ids.npy",
        positions="results/pack/{session}/positions.npy",
        ledger="results/pack/{session}/ledger.parquet",
        manifest="results/pack/{session}/manifest.json",
    log:
        "logs/pack/{session}.log",
    benchmark:
        "logs/benchmarks/pack/{session}.tsv"
    priority: earlier_first
    localrule: DATA_LOCAL
    conda:
        "../../envs/train.yaml"
    threads: 64  # all that --cores gives: tokenizing is most of the work, and the bytes are the same at any number
    params:
        settings=settings("pack", "session"),
        code=code("pack"),
    message:
        "Pack {wildcards.session} into rows of tokens."
    shell:
        "python -m showwork.pack --settings {params.settings:q} --log {log} --mix {input.mix} --base {input.base}"
        " --tokens {output.tokens} --loss-mask {output.loss_mask} --segment-ids {output.segment_ids}"
        " --positions {output.positions} --ledger {output.ledger} --manifest {output.manifest}"
        " --threads {threads}"
