# Everything here works on a machine that has Python 3.11 to 3.13, pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
LOWEST := .venv-lowest

.PHONY: demo test test-fast test-lowest soak fuzz lint format bench lock clean help

help:
	@echo "make demo       install, then run the demo study on simulated data"
	@echo "make test       install, lint, type-check and run all tests"
	@echo "make test-fast  the tests that train nothing long"
	@echo "make test-lowest  the same with the lowest versions that pyproject.toml allows, in .venv-lowest"
	@echo "make soak       kill 40 first launches and 40 runs, searches and bundle builds, and take each up again; end the server, lock the database; walk through own data"
	@echo "make fuzz       try what comes from outside for minutes (SEED=1 FUZZ=100)"
	@echo "make lint       ruff and mypy"
	@echo "make format     let ruff format the code"
	@echo "make bench      the measurements behind the README's figures"
	@echo "make lock       pin the newest dependencies that pyproject.toml allows"
	@echo "make clean      remove the environment and tool caches"

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))" || \
		{ echo "asc-study needs Python 3.11 to 3.13, got `$(PYTHON) --version`: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV) || { $(PYTHON) -m pip install virtualenv && $(PYTHON) -m virtualenv $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: $(READY)
	$(BIN)/asc-study demo

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-fast: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

test-lowest:
	$(PYTHON) -m venv --clear $(LOWEST) || { $(PYTHON) -m pip install virtualenv && $(PYTHON) -m virtualenv --clear $(LOWEST); }
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --editable ".[dev]"
	$(LOWEST)/bin/python -m pytest -n 2 --dist loadfile -m "not slow"

soak: $(READY)
	ASC_STUDY_KILLS=40 ASC_STUDY_SOAK=1 $(BIN)/python -m pytest -rA --tb=short tests/study/test_first_launch.py tests/faults \
		tests/dashboards/test_own_data_walk.py
	ASC_STUDY_SOAK=1 $(BIN)/python -m pytest -rA --tb=short -m soak tests

FUZZ ?= 100
SEED ?= 1
fuzz: $(READY)
	ASC_STUDY_FUZZ=$(FUZZ) $(BIN)/python -m pytest tests/fuzz --hypothesis-seed=$(SEED) --timeout=7200

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	@for script in benchmarks/bench_*.py; do echo "== $$script"; TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python $$script || exit 1; done
	$(BIN)/python benchmarks/table.py

lock: $(READY)
	$(BIN)/python -m pip install --quiet uv
	# fewest: one version of each package for all Pythons, else results would differ between them.
	$(BIN)/uv pip compile --upgrade --fork-strategy fewest --universal --python-version 3.11 --extra dev --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-annotate --no-header --quiet -o requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) $(LOWEST) .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info
