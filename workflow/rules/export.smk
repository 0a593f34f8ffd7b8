# Takes:  a session's adapter, the base, a few held-out questions to compare on.
# Leaves: results/export/<session>/: a PEFT adapter and merged weights in the HF layout, each reloaded and compared.
rule export:
    """Hand a session's adapter on in the formats other tools read, and prove that they agree."""
    input:
        adapter="results/train/{session}/manifest.json",
        base="results/download/base.json",
        prompts="results/heldout/prompts.json",
        data=beside(
            "results/train/{session}/manifest.json", "results/heldout/prompts.json"
        ),
    output:
        certificate="results/export/{session}/certificate.json",
    log:
        "logs/export/{session}.log",
    conda:
        "../../envs/train.yaml"
    threads: 2
    params:
        settings=settings("export", "session"),
        code=code("export"),
    message:
        "Export {wildcards.session} and compare what was exported."
    shell:
        "python -m showwork.export --settings {params.settings:q} --log {log} --adapter {input.adapter}"
        " --base {input.base} --prompts {input.prompts} --certificate {output.certificate}"
        " --folder results/export/{wildcards.session}"
