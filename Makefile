# Everything Mailfleet needs stands in .venv; a second run of any target starts in seconds.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet

.PHONY: setup demo test bench lint lock clean

setup: $(VENV)/.ready

demo: setup
	$(BIN)/mailfleet demo $(ARGS)

test: $(VENV)/.ready-dev
	.ci/debian postfix sasl2-bin libsasl2-modules openssl dovecot-imapd chromium nsd
	$(MAKE) --no-print-directory lint
	$(BIN)/pytest -q -n 2 --dist loadfile $(ARGS)

bench: $(VENV)/.ready-dev
	.ci/debian postfix
	$(BIN)/python -m bench $(ARGS)

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Locks name versions and hashes, and no registry.
lock: $(VENV)/.ready-dev
	$(PIP) install uv
	$(BIN)/uv pip compile -q --universal --generate-hashes --python-version 3.11 pyproject.toml --extra build -o requirements/run.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --python-version 3.11 pyproject.toml --extra build --extra dev --extra bench -c requirements/run.lock -o requirements/dev.lock

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache

$(VENV)/.ready: requirements/run.lock pyproject.toml .ci/venv
	.ci/venv $(PYTHON) $(VENV)
	$(PIP) install --require-hashes -r requirements/run.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.ready-dev: requirements/dev.lock $(VENV)/.ready
	$(PIP) install --require-hashes -r requirements/dev.lock
	touch $@
