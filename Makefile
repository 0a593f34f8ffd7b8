# Two commands do all set-up from a fresh clone: `make demo` and `make test`. Each prints the plain commands it runs.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PARITY := .parity-venv
PEERS := .peers-venv
TUNIX := .tunix-venv

.PHONY: demo test parity peers absent lint campaign growth pictures versions envs

# A tiny Gemma learns to show its work, in a folder of its own: nothing of a real run is touched.
demo: $(VENV)/installed
	$(BIN)/snakemake --cores 2 session1 --configfile workflow/recipes/demo.yaml --directory demo
	@echo
	@echo "Open demo/results/report/session1.html in a browser."

test: $(VENV)/dev
	$(BIN)/python -m pytest -n 2 --dist loadfile

# Live comparison with transformers and peft, in an environment of their own. torch's ordinary build is large (several GB
# with its CUDA packages where the registry serves no CPU build).
parity: $(PARITY)/installed
	$(PARITY)/bin/python -m pytest -q -p no:cacheprovider tests/parity

# What the benchmarks compare with, in environments of their own; as large as the one above. tunix's is apart because it wants an
# older safetensors.
peers: $(PEERS)/installed $(TUNIX)/installed

# Compilers for devices that are not at hand (`showwork fits`): 1.2 GB, beside .venv and never in it.
absent: .absent/installed

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint
	$(BIN)/snakemake --lint --configfile workflow/recipes/demo.yaml

# The longer proofs: three training seeds of the demo, a session on rewards, every recipe's twin, seeded faults, a million hostile inputs,
# memory over 2,000 steps, results under benchmarks/results/; a real Slurm that fails.
campaign: $(VENV)/dev
	$(BIN)/python benchmarks/demo.py
	$(BIN)/python benchmarks/grpo.py moves
	$(BIN)/python benchmarks/recipes.py
	$(BIN)/python benchmarks/fault_campaign.py
	$(BIN)/python benchmarks/fuzz_campaign.py
	$(BIN)/python benchmarks/leaks.py
	$(BIN)/python -m pytest -m campaign tests/cluster tests/test_train_together.py tests/test_envs.py

# What a run needs: the package and the extras of training and of the pages.
$(VENV)/installed: pyproject.toml envs/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint envs/constraints.txt --editable ".[train,report]"
	@touch $@

# Beside it what tests and checks need.
$(VENV)/dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint envs/constraints.txt --editable ".[dev]"
	@touch $@

# How time and memory grow, to ten million rows and two hundred sessions: about half an hour, a few GB in the folder for temporary files.
growth: $(VENV)/dev
	$(BIN)/python benchmarks/growth.py

# The README's pictures, from a run of the demo; needs chromium and chromedriver.
pictures: $(VENV)/dev
	$(BIN)/python docs/pictures.py

# All tests on each newer Python that the package says it runs on; python3.12 and python3.13 must be on the path.
versions:
	$(MAKE) test PYTHON=python3.12 VENV=.venv-3.12
	$(MAKE) test PYTHON=python3.13 VENV=.venv-3.13

# The environments of `--sdm conda`, from pyproject.toml; tests/test_envs.py holds them equal.
envs: $(VENV)/installed
	$(BIN)/python envs/generate.py

$(PARITY)/installed: envs/parity.txt
	$(PYTHON) -m venv $(PARITY)
	$(PARITY)/bin/python -m pip install --quiet --requirement envs/parity.txt
	@touch $@

$(PEERS)/installed: envs/peers.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --requirement envs/peers.txt
	@touch $@

.absent/installed: envs/absent-device.txt $(VENV)/installed
	$(BIN)/python -m pip install --quiet --no-deps --target .absent --requirement envs/absent-device.txt
	@touch $@

$(TUNIX)/installed: envs/tunix.txt
	$(PYTHON) -m venv $(TUNIX)
	$(TUNIX)/bin/python -m pip install --quiet --requirement envs/tunix.txt
	@touch $@
