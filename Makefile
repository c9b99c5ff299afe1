# 'make bench' measures, 'make reference' measures everything and reports it, 'make micro' times single calls.
# 'make check' lints, checks types and tests the logic, 'make test' tests all but what is slow, 'make test-all' tests
# everything. 'make wheels' builds packages to publish. Each creates the environment first if it is missing.
#
#   PYTHON=python3.12      the interpreter for the environment
#   VENV=.venv             where the environment is
#   EXTRAS=...             which extras to install; peers and fleet are tested if installed
#   PIP_ARGS="..."         for example --extra-index-url https://download.pytorch.org/whl/cpu, for PyTorch without CUDA
#   BENCH_ARGS="..."       what to measure, see 'python -m bench --help'
#   TEST_ARGS="..."        pytest options of all three, for example -n 2 -k fork
#   WHEELS_ARGS="..."      which wheels 'make wheels' makes, for example --only manylinux
#   REFERENCE=reports/...  the folder for 'make reference'; it must not contain runs yet
#   MICRO_ARGS="..."       which calls to time, for example -k tokens, and pytest-benchmark options

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= compile,models,bench,http,dev
PIP_ARGS ?=
BENCH_ARGS ?= -m strategy=lazy,background,progressive,quantized,cached,service,service_cold model=minilm
TEST_ARGS ?= -n 2 --dist worksteal
MICRO_ARGS ?=
WHEELS_ARGS ?=
REFERENCE ?= reports/mine
# Where an environment has its programs; on Windows, make finds the shell of Git.
PROGRAMS = $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)

.PHONY: bench check test test-all reference micro lint clean

bench: $(VENV)/ready
	$(PROGRAMS)/python -m bench $(BENCH_ARGS)

# Nothing here draws, starts a process, listens on a socket or imports PyTorch: tests/support/tiers.py makes sure of it.
check: lint
	$(PROGRAMS)/python -m pytest -m "not process and not real_model and not drawing and not slow and not gpu" $(TEST_ARGS)

test: $(VENV)/ready
	$(PROGRAMS)/python -m pytest -m "not slow" $(TEST_ARGS)

test-all: $(VENV)/ready
	$(PROGRAMS)/python -m pytest $(TEST_ARGS)

# A run's exit code 1: a cell has no valid sample, for example because a model is not on this machine. The report says so.
reference: $(VENV)/ready
	$(PROGRAMS)/python -m bench suite=full reports_dir=$(REFERENCE) run_name=full || test $$? -eq 1
	$(PROGRAMS)/python -m bench suite=waiting reports_dir=$(REFERENCE) run_name=waiting || test $$? -eq 1
	$(PROGRAMS)/python -m bench -m strategy=progressive,quantized scenario=concurrent protocol.rounds=3 \
		'protocol.passes=[]' reports_dir=$(REFERENCE) run_name=concurrent || test $$? -eq 1
	$(PROGRAMS)/python -m bench suite=quality model=minilm reports_dir=$(REFERENCE) run_name=quality || test $$? -eq 1
	$(PROGRAMS)/python -m bench.report $(REFERENCE)/full $(REFERENCE)/waiting $(REFERENCE)/concurrent \
		$(REFERENCE)/quality --output $(REFERENCE)

# The committed reports in HTML, and the pictures that are not committed.
.PHONY: reports
reports: $(VENV)/ready
	$(PROGRAMS)/python -m bench.publish --uncommitted

micro: $(VENV)/ready
	$(PROGRAMS)/python -m pytest tests/benchmarks --benchmark-enable --benchmark-json=reports/micro.json $(MICRO_ARGS)

# The kernel alone, after a change to its sources.
.PHONY: native
native: $(VENV)/ready
	$(PROGRAMS)/python loader/encoder/native/build.py

# The sdist, and wheels with the kernel for each platform, tested as far as this machine can: dist/. For nothing but this,
# 'make wheels EXTRAS=wheels' makes an environment without PyTorch.
.PHONY: wheels
wheels: $(VENV)/wheels
	$(PROGRAMS)/python -m loader.encoder.native.wheels $(WHEELS_ARGS)

lint: $(VENV)/ready
	$(PROGRAMS)/python -m ruff format --check .
	$(PROGRAMS)/python -m ruff check .
	$(PROGRAMS)/python -m mypy

# The kernel is compiled by the installation.
$(VENV)/ready: pyproject.toml constraints.txt $(wildcard loader/encoder/native/*.[chp]*)
	$(PYTHON) -m venv $(VENV)
	$(PROGRAMS)/python -m pip install $(PIP_ARGS) -c constraints.txt -e ".[$(EXTRAS)]"
	touch $@

$(VENV)/wheels: $(VENV)/ready
	$(PROGRAMS)/python -m pip install $(PIP_ARGS) -c constraints.txt -e ".[wheels]"
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
