# Two commands a newcomer needs: `make demo` and `make test`.
# The environment is made once, in .venv, from pinned versions, and again only when they change.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
PARITY := .venv/parity

# Tests and launches start many processes: where bytecode is not kept, each would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-slow chaos parity lint format constraints clean

demo: $(READY)
	$(BIN)/scaling launch demo

test: $(READY) lint
	$(BIN)/python -m pytest -m "not slow and not parity" -n auto --dist loadfile --no-loadscope-reorder

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow --timeout 3600

# Two hundred blows take half an hour; SEED=7 deals others. Figures go to benchmarks/results/chaos.json.
SEED ?= 0
chaos: $(READY)
	$(BIN)/python -m tests.chaos.kills --seed $(SEED) --root $$(mktemp -d)

# Beside the reference implementations: transformers and the CPU build of PyTorch, 1 GB more.
parity: $(PARITY)
	$(BIN)/python -m pytest -m parity -n auto --dist loadfile

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(READY): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed, $(PYTHON) is older: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Setting up .venv once: about two minutes, 1.3 GB."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[data,dev]'
	@touch $(READY)

$(PARITY): $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[data,dev,hf]'
	@touch $(PARITY)

# Pins for every supported Python at once, after a change of dependencies in setup.cfg.
constraints:
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 setup.cfg --extra data --extra dev --extra hf -o constraints.txt

clean:
	rm -rf .venv .cache
