# `make demo` and `make test` each create the environment they need; Python 3.11 or newer and make are enough.
PYTHON ?= $(firstword $(foreach p,python3.13 python3.12 python3.11 python3,$(shell $(p) -c 'import sys; print("$(p)" if sys.version_info >= (3, 11) else "")' 2>/dev/null)))
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: demo test install lint types contract unit examples clean

install: $(STAMP)

# torch first: the pinned release decides what its dependants may ask for.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; none was found"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(STAMP)
	$(BIN)/latent-atlas demo --out runs/demo

test: lint types contract unit examples

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/basedpyright --level error

contract: $(STAMP)
	$(BIN)/lint-imports

unit: $(STAMP)
	$(BIN)/pytest -n 2

examples: $(STAMP)
	set -e; for script in examples/*.py; do echo "$$script"; $(BIN)/python "$$script"; done

clean:
	rm -rf .venv runs dist build .pytest_cache .ruff_cache .hypothesis .import_linter_cache
