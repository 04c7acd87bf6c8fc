# The verbs of this repository. `make demo` and `make test` do all the set-up on a fresh machine.
# The first build compiles Rust for a few minutes; after that it is seconds.

PYTHON ?= python3
VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin
export VIRTUAL_ENV := $(VENV)
export PATH := $(BIN):$(PATH)
# A debug build is what tests and the demo want: they check behaviour and never speed.
export MESETA_ALLOW_DEBUG := 1
# Property tests draw the same in every run, as those in Python do: a change lands or does not for what it is.
export PROPTEST_RNG_SEED ?= 1

# In place, so that an edit of a Python file needs no build; what it builds with is pinned in requirements.lock.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .

.DEFAULT_GOAL := help
.PHONY: help tools environment build release demo test test-rust test-python check format stubs generate lock bench chaos rolling fuzz size clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

tools:
	@sh scripts/tools.sh "$(PYTHON)"

$(VENV)/.ready: requirements.lock | tools
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

environment: $(VENV)/.ready

build: environment  ## build the package into .venv (debug profile)
	$(INSTALL)

release: environment  ## build the package into .venv as users get it
	MATURIN_PEP517_ARGS="--profile release" $(INSTALL)

demo: build  ## start Meseta with no key and no network, send requests, ask two agents, show answers and log, end
	$(BIN)/meseta demo

test: test-rust test-python  ## build and run every test

test-rust: tools
	cargo test --quiet

test-python: build
	$(BIN)/pytest -q

check: build  ## format, lint, types, stubs, generated pages: what CI runs before the tests
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets -- -D warnings
	$(BIN)/ruff format --check python tests benches examples
	$(BIN)/ruff check python tests benches examples
	$(BIN)/mypy
	$(MAKE) --no-print-directory stubs
	git diff --exit-code -- python/meseta/_core.pyi
	$(BIN)/python -m mypy.stubtest meseta._core

format:  ## put every file into its form
	cargo fmt --all
	$(BIN)/ruff format python tests benches examples
	$(BIN)/ruff check --fix python tests benches examples

stubs: environment  ## write python/meseta/_core.pyi from the Rust source
	$(BIN)/maturin generate-stubs --quiet --out python --features stubs

generate: build  ## write the generated reference pages
	$(BIN)/python -m meseta.reference

lock:  ## pin the development environment again
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--group dev pyproject.toml --output-file requirements.lock

bench: release  ## measure against nginx, Envoy, Portkey and LiteLLM (see benches/README.md)
	cargo build --quiet --release -p generator
	cargo build --quiet --release -p meseta-core --example standalone
	$(BIN)/python benches/run.py

chaos: release  ## 200 requests a second for 3 minutes, while providers die, stall and refuse, and the file changes
	PYTHONPATH=benches $(BIN)/python -m chaos

rolling: release  ## 50 conversations with three agents each, while all agents are replaced again and again
	PYTHONPATH=benches $(BIN)/python -m rolling

fuzz:  ## ten minutes for each parser (needs a nightly toolchain and cargo-fuzz)
	for target in envelope stream event eventstream chat responses messages gemini converse; do mkdir -p fuzz/corpus/$$target && \
		cargo +nightly fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- -max_total_time=600 || exit 1; done

size:  ## the longest files
	@git ls-files '*.rs' '*.py' | xargs wc -l | sort -rn | head -n 11

clean:
	rm -rf target $(VENV)
