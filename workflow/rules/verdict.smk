# Takes:  the evaluations of the base and of a session, its training and its mix.
# Leaves: results/verdict/<session>.json: whether it underperforms, by which measure, and which fallback fits.
rule verdict:
    """Say whether a session underperforms, and what fits."""
    input:
        base="results/evaluate/base/manifest.json",
        session="results/evaluate/{session}/manifest.json",
        train="results/train/{session}/manifest.json",
        mix=mix_of,
        data=beside(
            "results/evaluate/base/manifest.json",
            "results/evaluate/{session}/manifest.json",
            "results/train/{session}/manifest.json",
        ),
    output:
        verdict="results/verdict/{session}.json",
    log:
        "logs/verdict/{session}.log",
    localrule: True
    conda:
        "../../envs/data.yaml"
    params:
        settings=settings("verdict", "session"),
        code=code("verdict"),
    message:
        "Judge {wildcards.session}."
    shell:
        "python -m showwork.verdict --settings {params.settings:q} --log {log} --base {input.base}"
        " --session {input.session} --train {input.train} --mix {input.mix} --verdict {output.verdict}"
