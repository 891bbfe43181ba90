# Every verb does the set-up that it needs. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /usr/bin/env bash
PY := .venv/bin/python
RESULTS := .tenantry/results
# A file stays in one worker, for its tests may share a world; a worker that dies ends the run.
WORKERS := -n 2 --dist loadfile --max-worker-restart=0
# The administrator of the Postgres of db-start.
DB_URL := postgresql://postgres@127.0.0.1:25432/postgres
RUN := ./scripts/env && PATH="$(CURDIR)/.venv/bin:$(CURDIR)/.tenantry/bin:$$PATH"

.PHONY: help
help: ## List the verbs
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: env
env: ## Make .venv what requirements.lock says
	@./scripts/env

.PHONY: demo
demo: ## A fresh machine to a running system: cluster, images, charts, a Tenant, a ServiceDeployment, a user
	@$(RUN) $(PY) -m tenantry_testing.demo up

.PHONY: demo-down
demo-down: ## Remove what the demo made; the cluster stays
	@$(RUN) $(PY) -m tenantry_testing.demo down

.PHONY: demo-env
demo-env: ## Print what a shell needs to talk to the demo, for eval
	@./scripts/env >&2 && $(PY) -m tenantry_testing.demo env

.PHONY: cluster
cluster: ## Bring up a cluster: TENANTRY_KUBECONFIG, else kind, else the local node
	@$(RUN) $(PY) -m tenantry_cluster up

.PHONY: cluster-down
cluster-down: ## Take the cluster down that we brought up
	@$(RUN) $(PY) -m tenantry_cluster down

.PHONY: db-start
db-start: ## A Postgres for development on this machine, in .tenantry/db (ARGS=--help)
	@$(RUN) tenantry db start $(ARGS)

.PHONY: db-stop
db-stop: ## Stop it; its data stays
	@$(RUN) tenantry db stop $(ARGS)

.PHONY: db-reset
db-reset: ## Empty it of what tenantry made (ARGS=--print says what)
	@export PGPASSWORD="$$(cat .tenantry/db/password)"; $(RUN) tenantry db reset $(DB_URL) $(ARGS)

.PHONY: doctor
doctor: ## Say what this machine has, lacks, and how to cure it
	@$(RUN) $(PY) -m tenantry_cluster doctor

.PHONY: test
test: ## Everything: check, integration, e2e; and each row of docs/rows.md ran
	@rm -rf $(RESULTS)
	@$(MAKE) --no-print-directory check
	@$(MAKE) --no-print-directory integration
	@$(MAKE) --no-print-directory e2e
	@$(RUN) $(PY) -m tenantry_testing.rows --require-run

.PHONY: check
check: ## Format, lint, types, imports, drift, unit, property, contract
	@$(RUN) ruff format --check --no-cache .
	@$(RUN) ruff check --no-cache .
	@$(RUN) mypy
	@$(RUN) lint-imports
	@$(RUN) $(PY) -m tenantry_crds render --check
	@$(RUN) $(PY) -m tenantry_migrations render --check
	@$(RUN) $(PY) -m tenantry_operator.cli.reference --check
	@$(RUN) $(PY) -m tenantry_testing.rows
	@$(RUN) $(PY) -m pytest -q --junitxml=$(RESULTS)/check.xml tests/unit tests/property tests/contract $(PYTEST_ARGS)

.PHONY: integration
integration: ## Adapters on real Postgres and API servers, in two workers with their own (PYTEST_ARGS=-n0: in one)
	@$(RUN) $(PY) -m tenantry_cluster binaries
	@rm -f $(RESULTS)/integration-*.order
	@$(RUN) $(PY) -m pytest -q $(WORKERS) --junitxml=$(RESULTS)/integration.xml tests/integration $(PYTEST_ARGS)

.PHONY: e2e
e2e: ## The cluster by helm, kubectl and HTTP (takes it down again unless it was up, or TENANTRY_KEEP is set)
	@$(RUN) $(PY) -m tenantry_testing.e2e $(PYTEST_ARGS)

.PHONY: bench
bench: ## Ratios to raw scripts; raw samples in .tenantry/bench/
	@$(RUN) $(PY) -m tenantry_cluster binaries
	@$(RUN) $(PY) -m tenantry_testing.bench

.PHONY: prove
prove: ## Kill the operator at each of its writes, and break what it talks to; result in docs/results/ (ARGS=--help)
	@$(RUN) $(PY) -m tenantry_cluster binaries
	@$(RUN) $(PY) -m tenantry_testing.prove $(ARGS)

.PHONY: render
render: ## Write the generated files anew: CRDs, charts' copies, the histories' SQL, reference pages
	@$(RUN) $(PY) -m tenantry_crds render
	@$(RUN) $(PY) -m tenantry_migrations render
	@$(RUN) $(PY) -m tenantry_operator.cli.reference

.PHONY: fmt
fmt: ## Format and fix what can be fixed
	@$(RUN) ruff check --no-cache --fix-only -q . ; ruff format --no-cache .

.PHONY: lock
lock: ## Resolve the dependencies anew (make lock ARGS=--upgrade for newer ones)
	@./scripts/lock $(ARGS)

.PHONY: clean
clean: cluster-down ## Take the cluster down and remove .tenantry and .venv
	@rm -rf .tenantry .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
