# Takes:  the `demo` section of the configuration, which only workflow/recipes/demo.yaml has.
# Leaves: sources/: a generated world in the layouts of the four real sources, and a tiny base model.
if CONFIG["demo"]:

    rule demo_sources:
        """Generate the demo's four sources and copy its base model."""
        output:
            manifest="sources/manifest.json",
        log:
            "logs/demo/sources.log",
        localrule: True
        conda:
            "../../envs/data.yaml"
        params:
            settings=canonical({"name": "sources", **CONFIG["demo"]}),
            code=code("demo.sources"),
        message:
            "Generate the demo's sources: a small world in the layouts of the four real ones."
        shell:
            "python -m showwork.demo.sources --settings {params.settings:q} --log {log}"
            " --folder sources --manifest {output.manifest}"
