# Everything starts here: `make run` in a fresh checkout serves uploads, `make test` tests it.

PY := .venv/bin/python
RUN := .venv/.run-$(shell cksum requirements.lock scripts/setup | cksum | cut -d ' ' -f 1)
READY := .venv/.test-$(shell cat requirements-test.lock pyproject.toml scripts/setup tests/clients/package-lock.json | cksum | cut -d ' ' -f 1)
PAGE := tusserver/page/built/.made-$(shell cat scripts/page web/*.* web/src/* | cksum | cut -d ' ' -f 1)

.DEFAULT_GOAL := help
.PHONY: help run page test check screenshots chaos takeover docs bench bench-quick lock clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(RUN) $(PAGE) ## Serve uploads; options in ARGS="--port 8080 --max-size 5GiB"
	@exec $(PY) -m tusserver serve $(ARGS)

page: $(PAGE) ## Build the upload page (needs Node.js); the others do it too

test: $(READY) $(PAGE) ## Run the tests; what to run in ARGS="tests/protocol -k offset", one after the other with -n 0
	@$(PY) -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

check: $(READY) ## Lint, check types, and that docs and tests fit the code
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	$(PY) scripts/generated_docs.py --check
	$(PY) scripts/requirements_coverage.py

screenshots: $(READY) $(PAGE) ## Make docs/screenshots anew
	@$(PY) -m scripts.screenshots

chaos: $(READY) ## Fail at random under real clients for some minutes; options in ARGS="--seed 7 --storage gridfs"
	@$(PY) -m tests.chaos $(ARGS)

takeover: $(READY) ## Measure how long a client waits that comes back while its old connection hangs
	@$(PY) -m tests.chaos.takeover $(ARGS)

docs: $(READY) ## Write what the docs take from the code
	$(PY) scripts/generated_docs.py

bench: $(READY) ## Measure this server beside others, for half an hour; options in ARGS
	@$(PY) -m bench $(ARGS)

bench-quick: $(READY) ## The same in three minutes, with less to rely on
	@$(PY) -m bench --rounds 1 --size 128 --seconds 1 $(ARGS)

lock: ## Choose the newest versions anew and lock them (needs uv)
	scripts/lock

clean: ## Remove the environment and caches, not data/
	rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist tests/clients/node_modules web/node_modules tusserver/page/built
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUN):
	@scripts/setup run
	@rm -f .venv/.run-* && touch $@

$(READY):
	@scripts/setup test
	@rm -f .venv/.test-* && touch $@

$(PAGE):
	@scripts/page $@
