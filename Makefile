# The four things to do with a fresh clone. Everything lives in .venv; nothing outside this folder is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEV := $(VENV)/.dev
RUN := $(VENV)/.run

.PHONY: run cluster test check fmt proto bench prove clean
.DEFAULT_GOAL := run

run: $(RUN)  ## start it, with a demo contest, on http://127.0.0.1:8080
	@exec $(BIN)/codewarz up

cluster: $(RUN)  ## start it as a cluster of processes on a private PostgreSQL, Redis and RabbitMQ
	@scripts/engines || echo "what is missing runs in containers, where there is Docker"
	@exec $(BIN)/codewarz cluster

test: $(DEV)  ## everything CI runs
	@tests/run

check: $(DEV)  ## style, types and import floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

fmt: $(DEV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

proto: $(DEV)  ## generate code from contracts/proto/*.proto
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. contracts/proto/*.proto

bench: $(DEV)  ## measure, and show the figures beside their references
	$(BIN)/codewarz bench judge

prove:  ## the whole of compose.yaml, with images made here: brought up, judging, broken, judging again, taken down
	deploy/with-docker sh -c 'deploy/local-images && deploy/prove --local'

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "CodeWarz needs Python 3.11 or later: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) scripts/environment.py $(VENV)

$(RUN): pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing what CodeWarz needs into $(VENV) …"
	@scripts/install $(VENV) --editable .
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing what CodeWarz and its tests need into $(VENV) …"
	@scripts/install $(VENV) --editable '.[dev]'
	@touch $@ $(RUN)
