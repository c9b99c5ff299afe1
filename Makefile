# 'make bench' measures, 'make test' tests, 'make reference' measures everything and reports it, 'make micro'
# times single calls. Each makes the environment first if it is missing.
#
#   PYTHON=python3.12      the interpreter that the environment is made with
#   VENV=.venv             where the environment is
#   EXTRAS=...             which extras are installed; peers and fleet are tested if they are there
#   PIP_ARGS="..."         for instance --extra-index-url https://download.pytorch.org/whl/cpu, for PyTorch without CUDA
#   BENCH_ARGS="..."       what to measure, see 'python -m bench --help'
#   TEST_ARGS="..."        which tests to run
#   REFERENCE=reports/...  the folder of 'make reference'; it must not have runs yet
#   MICRO_ARGS="..."       which calls to time, for instance -k tokens, and options of pytest-benchmark

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= compile,models,bench,http,dev
PIP_ARGS ?=
BENCH_ARGS ?= -m strategy=lazy,background,progressive,quantized,cached,service,service_cold model=minilm
TEST_ARGS ?= -n 2 --dist worksteal
MICRO_ARGS ?=
REFERENCE ?= reports/mine

.PHONY: bench test reference micro lint clean

bench: $(VENV)/ready
	$(VENV)/bin/python -m bench $(BENCH_ARGS)

test: $(VENV)/ready
	$(VENV)/bin/python -m pytest $(TEST_ARGS)

# Exit code 1 of a run: a cell has no valid sample, for instance because a model is not on this machine. The report says so.
reference: $(VENV)/ready
	$(VENV)/bin/python -m bench suite=full reports_dir=$(REFERENCE) run_name=full || test $$? -eq 1
	$(VENV)/bin/python -m bench suite=waiting reports_dir=$(REFERENCE) run_name=waiting || test $$? -eq 1
	$(VENV)/bin/python -m bench -m strategy=progressive,quantized scenario=concurrent protocol.rounds=3 \
		'protocol.passes=[]' reports_dir=$(REFERENCE) run_name=concurrent || test $$? -eq 1
	$(VENV)/bin/python -m bench suite=quality model=minilm reports_dir=$(REFERENCE) run_name=quality || test $$? -eq 1
	$(VENV)/bin/python -m bench.report $(REFERENCE)/full $(REFERENCE)/waiting $(REFERENCE)/concurrent \
		$(REFERENCE)/quality --output $(REFERENCE)

micro: $(VENV)/ready
	$(VENV)/bin/python -m pytest tests/benchmarks --benchmark-enable --benchmark-json=reports/micro.json $(MICRO_ARGS)

lint: $(VENV)/ready
	$(VENV)/bin/python -m ruff format --check .
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m mypy

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install $(PIP_ARGS) -c constraints.txt -e ".[$(EXTRAS)]"
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
