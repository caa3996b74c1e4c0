# Everything is made in .venv; the only things needed beforehand are Python >= 3.11, make and git.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
DATA ?= data
PORT ?= 8080

.PHONY: install demo demo-all up test check bench chaos mutants fuzz docs lock clean

install: $(STAMP)

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.x")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@# Compiled beforehand, everything starts in half the time.
	$(BIN)/python -m compileall -q playbooks workflows activities storage engine executions api cli stanchion_client settings.py worker.py
	touch $@

demo: install
	$(BIN)/stanchion demo

# All three shipped playbooks; says what this machine lacks for a part of them.
demo-all: install
	$(BIN)/stanchion demo --all

up: install
	$(BIN)/stanchion up --samples --data-dir $(DATA) --port $(PORT)

test: install
	scripts/install-test-packages.sh
	$(MAKE) check
	$(BIN)/pytest -q -n auto --dist loadgroup --durations=40

check: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	@set -e; for lint in scripts/lint_*.py; do if [ -e "$$lint" ]; then echo "$$lint"; $(BIN)/python "$$lint"; fi; done

# A static site in build/docs, to be opened as files or served by anything; a warning is an error.
docs: install
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going docs build/docs

bench: install
	$(BIN)/python -m bench.everything

# CHAOS_SEED and CHAOS_EXECUTIONS choose what; the seed is printed.
CHAOS_EXECUTIONS ?= 500
CHAOS_SEED ?= $(shell date +%s)
chaos: install
	CHAOS_EXECUTIONS=$(CHAOS_EXECUTIONS) CHAOS_SEED=$(CHAOS_SEED) $(BIN)/pytest -q -s tests/failures/test_chaos.py

# Tools that nothing else needs, beside what .venv has.
TOOLS := .venv-tools/.installed
$(TOOLS): requirements-tools.txt $(STAMP)
	test -x .venv-tools/bin/python || $(BIN)/python -m venv .venv-tools
	.venv-tools/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-tools.txt
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
		>$$(.venv-tools/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/of-the-project.pth
	touch $@

# A sample of the changes that mutmut makes; which one, MUTANTS_SEED says, and MUTANTS_IN where: playbooks, workflows, or
# in both.
MUTANTS ?= 100
MUTANTS_SEED ?= 1
MUTANTS_IN ?=
mutants: $(TOOLS)
	.venv-tools/bin/python -m scripts.mutants $(MUTANTS) $(MUTANTS_SEED) $(MUTANTS_IN)

# Input led by coverage, for FUZZ_SECONDS, thrown at one target of scripts/fuzz.py.
FUZZ_SECONDS ?= 60
FUZZ_TARGET ?= yaml
fuzz: $(TOOLS)
	.venv-tools/bin/python -m scripts.fuzz_guided $(FUZZ_SECONDS) $(FUZZ_TARGET)

# --universal: one file for every platform; the file names no index, so it works behind any mirror.
# The image takes what runs, and builds with what builds, in the very versions that the tests ran with.
COMPILE = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header
lock:
	$(COMPILE) pyproject.toml --all-extras requirements-build.in -o requirements.txt
	$(COMPILE) --no-annotate -c requirements.txt --extra pdf --extra traces pyproject.toml -o requirements-runtime.txt
	$(COMPILE) --no-annotate -c requirements.txt requirements-build.in -o requirements-build.txt
	$(COMPILE) --no-annotate -c requirements.txt requirements-tools.in -o requirements-tools.txt

clean:
	rm -rf .venv .venv-tools mutants build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
