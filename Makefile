# `make` or `make help` lists what there is. Nothing has to be prepared: the first call makes `.venv`.

# The first Python >= 3.11 found; `make PYTHON=/path/to/python3 …` takes another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v "$$p"; break; }; done)

VENV := .venv
BIN := $(VENV)/bin
DEV := $(VENV)/.ready-dev
DEMO := $(VENV)/.ready-demo
DOCS := $(VENV)/.ready-docs
# `make demo WHEEL=dist/jitflow-….whl` runs the demonstration with that wheel, in a virtual environment of its own.
WHEEL_VENV ?= build/wheel
MANIFESTS ?= ../shared/argo
EXPECTED ?= $(MANIFESTS)/expected.tsv
TRACES ?= ../shared/traces
# As many at once as there are processors; the tests of a file stay together and share their servers. What real processes and
# clocks were too slow for is tried once more, and counted as "rerun"; pure tests are not.
PYTEST_FLAGS ?= -n auto --maxprocesses 8 --dist loadfile --reruns 1
# No tool leaves folders of its own in the tree.
export RUFF_CACHE_DIR := build/cache/ruff
export PYTHONDONTWRITEBYTECODE := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check bench bench-overhead conformance fuzz generate dist clean bench-traces bench-data bench-jobs bench-real bench-catalogue bench-original bench-api bench-state chaos fuzz-planner fuzz-api simulate docs

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(if $(WHEEL),$(WHEEL_VENV)/.ready,$(DEMO)) ## run the demonstration: far data, a small near store, on demand and just in time (about two minutes); WHEEL=x.whl
	@$(if $(WHEEL),$(WHEEL_VENV)/bin,$(BIN))/python -m benchmark.demo

test: $(DEV) ## run the tests
	$(BIN)/pytest -p no:cacheprovider -q $(PYTEST_FLAGS)

check: $(DEV) ## format, lint, types, layers, generated files, container and CI files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m jitflow.spec._generate_types --check
	$(BIN)/python -m jitflow.spec._compatibility --check
	$(BIN)/python -m jitflow.cli._reference --check
	$(BIN)/python -m jitflow.client._reference --check
	$(BIN)/python -m jitflow.bootstrap._openapi --check
	$(BIN)/python -m jitflow.telemetry._reference --check
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema custom.github-workflows-require-timeout .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml
	@if [ -x $(BIN)/hadolint ]; then echo "$(BIN)/hadolint Dockerfile"; $(BIN)/hadolint Dockerfile; \
		else echo "hadolint: no build for this machine, skipped"; fi

docs: $(DOCS) ## build the site of the documents into build/docs; a link that leads nowhere ends it
	$(BIN)/zensical build --strict --clean

bench: $(DEV) ## run the benchmarks one after the other, with one report (in short form): BENCH_FLAGS="--full --only overhead,data"
	@$(BIN)/python -m benchmark $(BENCH_FLAGS)

bench-overhead: $(DEV) ## measure the cost of a step beside make, Snakemake and Prefect (about ten minutes)
	@$(BIN)/python -m benchmark.overhead $(BENCH_FLAGS)

bench-api: $(DEV) ## submit and read workflows over HTTP, beside a bare endpoint and Prefect (three minutes): BENCH_FLAGS="--only jitflow"
	@$(BIN)/python -m benchmark.api $(BENCH_FLAGS)

bench-state: $(DEV) ## measure commits beside a bare loop on each database, a start after a crash, bytes of a step: BENCH_FLAGS="--only disk"
	@$(BIN)/python -m benchmark.state $(BENCH_FLAGS)

bench-data: $(DEV) ## move data through the queue beside one rclone copy, direct and over a slow link: BENCH_FLAGS="--rounds 5"
	@$(BIN)/python -m benchmark.data $(BENCH_FLAGS)

bench-jobs: $(DEV) ## transfer jobs between two S3 stores beside one rclone copy and one process for each file
	@$(BIN)/python -m benchmark.data.between $(BENCH_FLAGS)

bench-traces: $(DEV) ## drive the planner over recorded workflows, against a bound: TRACES=folder BENCH_FLAGS="--continue --seconds 300"
	@$(BIN)/python -m benchmark.traces --traces "$(TRACES)" $(BENCH_FLAGS)

bench-original: $(DEV) ## run the original system's workflows with real transfers (about half an hour): SETS=table BENCH_FLAGS="--only base"
	@$(BIN)/python -m benchmark.original $(if $(SETS),--sets "$(SETS)") $(BENCH_FLAGS)

bench-real: $(DEV) ## run recorded workflows for real, scaled down, beside a bound: TRACES=folder BENCH_FLAGS="--only montage"
	@$(BIN)/python -m benchmark.traces.real --traces "$(TRACES)" $(BENCH_FLAGS)

bench-catalogue: $(DEV) ## open a data plane over a million replicas: seconds and memory
	@$(BIN)/python -m benchmark.catalogue $(BENCH_FLAGS)

chaos: $(DEV) ## kill servers, rclone, pods and databases under real workflows: STORE=sqlite|postgresql|mongodb KILLS=300 WORKFLOWS=50 SEED=1
	@$(BIN)/python -m benchmark.chaos --store $(or $(STORE),sqlite) --kills $(or $(KILLS),300) \
		--workflows $(or $(WORKFLOWS),50) --seed $(or $(SEED),1) $(CHAOS_FLAGS)

conformance: $(DEV) ## run manifests and compare their ends: MANIFESTS=folder EXPECTED=table.tsv
	@$(BIN)/python -m benchmark.conformance --manifests "$(MANIFESTS)" --expected "$(EXPECTED)" $(CONFORMANCE_FLAGS)

fuzz: $(DEV) ## fuzz manifests and expressions for ten minutes: SECONDS=600
	@$(BIN)/python -m benchmark.fuzz --seconds $(or $(SECONDS),600)

fuzz-api: $(DEV) ## send a server requests made from its OpenAPI descriptions: REQUESTS=20000
	@$(BIN)/python -m benchmark.fuzz_api --requests $(or $(REQUESTS),20000)

fuzz-planner: $(DEV) ## hold the planner's invariants in random runs: RUNS=200000 of all properties together; SEED=1 for a piece of more
	@export PLANNER_RUNS=$(or $(RUNS),200000); \
	fuzz="$(BIN)/pytest -p no:cacheprovider -q --timeout 0 $(if $(SEED),--hypothesis-seed=$(SEED)) tests/planner/test_planner_properties.py tests/planner/test_planner_machine.py"; \
	$$fuzz -k "results or crash or claims" & first=$$!; $$fuzz -k "not (results or crash or claims)"; second=$$?; \
	wait $$first && exit $$second

simulate: $(DEV) ## run the server in a simulated world full of faults: SEEDS=0..1999; SEEDS=17 shows one; SIMULATE_FLAGS="--continue"
	@PYTHONHASHSEED=0 $(BIN)/python -m benchmark.simulate --seeds $(or $(SEEDS),0..1999) $(if $(DROP),--drop $(DROP)) $(SIMULATE_FLAGS)

generate: $(DEV) ## write the generated files again: SWAGGER=swagger.json takes a newer API description
	$(BIN)/python -m jitflow.spec._generate_types $(if $(SWAGGER),--swagger "$(SWAGGER)")
	$(if $(SWAGGER),$(BIN)/python -m jitflow.control_api.describe._generate --swagger "$(SWAGGER)")
	$(BIN)/python -m jitflow.spec._generate_types
	$(BIN)/python -m jitflow.spec._compatibility
	$(BIN)/python -m jitflow.cli._reference
	$(BIN)/python -m jitflow.client._reference
	$(BIN)/python -m jitflow.bootstrap._openapi
	$(BIN)/python -m jitflow.telemetry._reference

dist: $(DEV) ## build the wheel and the source archive into dist/
	$(BIN)/uv build --out-dir dist

clean: ## remove what the targets made, the virtual environment included
	rm -rf build dist $(VENV) .coverage .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/uv:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and was not found; name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.5'

$(DEMO): $(BIN)/uv pyproject.toml uv.lock
	$(BIN)/uv sync --quiet --frozen --inexact --no-default-groups --group demo --python $(BIN)/python
	@touch $@

# Nothing but the wheel, what it asks for, and what the demonstration needs; made anew each time, as the file may be another one.
.PHONY: $(WHEEL_VENV)/.ready
$(WHEEL_VENV)/.ready: $(BIN)/uv
	@test -f "$(WHEEL)" || { echo "there is no file '$(WHEEL)': make one by \`make dist\`, and name it: make demo WHEEL=dist/….whl" >&2; exit 1; }
	@rm -rf "$(WHEEL_VENV)"
	$(BIN)/uv venv --quiet --no-project --python $(BIN)/python "$(WHEEL_VENV)"
	$(BIN)/uv pip install --quiet --python "$(WHEEL_VENV)/bin/python" "$(WHEEL)" --group pyproject.toml:demo

$(DOCS): $(BIN)/uv pyproject.toml uv.lock
	$(BIN)/uv sync --quiet --frozen --inexact --no-default-groups --no-install-project --group docs --python $(BIN)/python
	@touch $@

$(DEV): $(BIN)/uv pyproject.toml uv.lock
	$(BIN)/uv sync --quiet --frozen --inexact --group dev --group demo --python $(BIN)/python
	@touch $@ $(DEMO)
