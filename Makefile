# make help    lists what can be made
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Torch and BLAS threads only fight each other on matrices as small as ours.
export OMP_NUM_THREADS ?= 1

.PHONY: help
help: ## Print this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

.PHONY: setup
setup: $(STAMP) ## Create .venv and install stepcell with everything it can use (pip only)

$(STAMP): pyproject.toml constraints.txt scripts/setup_venv.sh
	scripts/setup_venv.sh $(VENV)
	touch $@

.PHONY: demo
demo: setup ## Train, prune, quantize and compile a GRU, and run it on an emulated Cortex-M4
	$(BIN)/python examples/demo.py

.PHONY: bench-demo
bench-demo: setup ## The demo's accuracy over five seeds; CELL=lstm for an LSTM
	$(BIN)/python examples/demo_seeds.py --cell $(or $(CELL),gru)

.PHONY: bench
bench: bench-kernels bench-models bench-host ## What kernels and models cost, into build/bench

.PHONY: bench-kernels
bench-kernels: setup ## Instructions of every matrix kernel on every core
	$(BIN)/python scripts/bench_kernels.py

.PHONY: bench-models
bench-models: setup ## Instructions, flash and RAM of whole models on every core
	$(BIN)/python scripts/bench_models.py

.PHONY: bench-host
bench-host: setup ## A step of an LSTM on this computer against ONNX Runtime
	$(BIN)/python scripts/bench_host.py

.PHONY: bench-diff
bench-diff: setup ## What `make bench` found against benchmarks/; fails if something takes over 1 % more
	$(BIN)/python scripts/bench_diff.py

.PHONY: bench-compression
bench-compression: setup ## Every way to compress on three tasks, into build/bench/compression.json (40 minutes)
	$(BIN)/python examples/compression/bench.py

.PHONY: bench-kilobyte
bench-kilobyte: setup ## The smallest models of two tasks over ten seeds
	$(BIN)/python examples/compression/kilobyte.py

.PHONY: bench-third-party
bench-third-party: setup ## silero-vad (pruned, too) and DTLN compiled to C, compared with their files in ONNX Runtime
	$(BIN)/python examples/voice_activity/compile.py
	$(BIN)/python examples/voice_activity/compress.py
	$(BIN)/python examples/noise_suppression/compile.py

.PHONY: fuzz
fuzz: setup ## 20,000 damaged model files through the importers
	$(BIN)/python scripts/fuzz_importers.py

.PHONY: test
test: system-packages setup lint pytest wheel ## Install what the tests need, then run every check and test

.PHONY: system-packages
system-packages: ## Install the Debian packages that the tests use (or name the missing ones)
	scripts/system_packages.sh

.PHONY: lint
lint: setup ## Style, types, import order, C format and C static analysis
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	scripts/check_c.sh $(BIN)/clang-format

.PHONY: format
format: setup ## Rewrite Python and C in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	scripts/c_files.sh | xargs -r $(BIN)/clang-format -i

.PHONY: pytest
pytest: setup ## The tests alone
	$(BIN)/pytest -n 2

.PHONY: wheel
wheel: setup ## Build the wheel and compile a model with it outside the checkout, without torch
	scripts/test_wheel.sh $(BIN)/python

.PHONY: clean
clean: ## Remove what was built (the virtual environment and downloaded data stay)
	[ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name data -exec rm -rf {} +
	rm -rf dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
