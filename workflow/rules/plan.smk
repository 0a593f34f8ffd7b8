# Takes:  a session's packed rows and the base model's shapes; no weights are loaded.
# Leaves: results/plan/<session>.json and .txt: rows, tokens, steps, trained modules, FLOPs, memory, time.
rule plan_session:
    """Say what one session's training will cost."""
    input:
        pack=pack_of,
        base="results/download/base.json",
        data=lambda wildcards: beside(pack_of(wildcards)),
    output:
        json="results/plan/{session}.json",
        text="results/plan/{session}.txt",
    log:
        "logs/plan/{session}.log",
    localrule: DATA_LOCAL
    conda:
        "../../envs/train.yaml"
    params:
        settings=settings("train", "session"),
        code=code("plan"),
    message:
        "Plan the training of {wildcards.session}."
    shell:
        "python -m showwork.plan --settings {params.settings:q} --log {log} --pack {input.pack} --base {input.base}"
        " --json {output.json} --text {output.text}"
