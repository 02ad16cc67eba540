# Every task of the project; CI calls the same ones.
SHELL := /bin/bash -euo pipefail
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
STAMP := $(VENV)/.installed
# Root on a host with cgroup v2 needs no guest; of the guests, Python runs fastest in user-mode-linux.
ENGINE = $(shell [ "$$(id -u)" = 0 ] && grep -qw memory /sys/fs/cgroup/cgroup.controllers 2>/dev/null && echo host || echo uml)
GRPCURL_VERSION := v1.9.3
# protoc-gen-go is a part of google.golang.org/protobuf: keep it at the version in clients/go/go.mod.
PROTOC_GEN_GO_VERSION := v1.36.12
PROTOC_GEN_GO_GRPC_VERSION := v1.6.2
PROTOC_PLUGINS := $(BIN)/protoc-gen-go $(BIN)/protoc-gen-go-grpc
TS := clients/typescript
TS_MODULES := $(TS)/node_modules/.package-lock.json
export PATH := $(CURDIR)/$(BIN):$(PATH)

LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-annotate --no-header \
  --no-emit-package jobworker-api --no-emit-package jobworker-worker --no-emit-package jobworker-client --no-emit-package jobworker-cli

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

.PHONY: setup
setup: $(STAMP) $(BIN)/grpcurl $(PROTOC_PLUGINS) ## Make the environment .venv with everything that the other tasks need

# What the server and the command need, and nothing else: `make demo` waits for no developer's tools.
$(RUNTIME): requirements.txt gen/python/pyproject.toml services/worker/pyproject.toml clients/python/pyproject.toml clients/cli/pyproject.toml
	tools/make-venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	  -e gen/python -e services/worker -e clients/python -e clients/cli
	touch $@

$(STAMP): $(RUNTIME) requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements-dev.txt
	touch $@

$(BIN)/grpcurl: | $(STAMP)
	tools/go-install github.com/fullstorydev/grpcurl/cmd/grpcurl@$(GRPCURL_VERSION) $(BIN)

$(BIN)/protoc-gen-go: | $(STAMP)
	tools/go-install google.golang.org/protobuf/cmd/protoc-gen-go@$(PROTOC_GEN_GO_VERSION) $(BIN)

$(BIN)/protoc-gen-go-grpc: | $(STAMP)
	tools/go-install google.golang.org/grpc/cmd/protoc-gen-go-grpc@$(PROTOC_GEN_GO_GRPC_VERSION) $(BIN)

$(TS_MODULES): $(TS)/package.json $(TS)/package-lock.json
	tools/node npm --prefix $(TS) ci
	touch $@

.PHONY: generate
generate: $(STAMP) $(PROTOC_PLUGINS) $(TS_MODULES) ## Make the generated code and docs/api.md from proto/
	tools/generate
	tools/make-api-page docs/api.md

.PHONY: lint
lint: $(STAMP) $(PROTOC_PLUGINS) $(TS_MODULES) ## Check protos, generated code, prose, style, types, layers, workflows and lock files
	buf lint
	buf format -d --exit-code
	buf build -o /dev/null
	tools/check-breaking
	tools/check-generated
	tools/check-api-page
	tools/check-prose
	tools/check-requirements
	ruff check .
	ruff format --check .
	mypy services clients/python clients/cli tests bench
	lint-imports
	check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	zizmor --offline --quiet .github/workflows

.PHONY: format
format: $(STAMP) ## Format protos, Python and Go
	buf format -w
	ruff check --fix .
	ruff format .
	tools/go gofmt -w clients/go

.PHONY: unit
unit: $(STAMP) ## Run the unit tests
	pytest tests/unit

.PHONY: clients-go
clients-go: ## Check and test the Go client
	@bad=$$(tools/go gofmt -l clients/go); [ -z "$$bad" ] || { echo "not formatted, run make format: $$bad" >&2; exit 1; }
	tools/go -C clients/go vet ./...
	tools/go -C clients/go test ./...

.PHONY: contract
contract: setup $(TS_MODULES) ## Run the contract tests on this host: everything but the limits where it has no cgroup v2
	pytest tests/contract -m "not cgroup"

.PHONY: interop
interop: setup $(TS_MODULES) ## Play the same scenarios with every client, and print the matrix
	pytest tests/interop

.PHONY: pages
pages: setup $(TS_MODULES) ## Run the code blocks of README.md and docs/ against a live server
	tools/node npm --prefix $(TS) run build
	pytest tests/docs

# What other clients make of the answers does not depend on the kernel: those tests run on the host alone.
.PHONY: contract-guest
contract-guest: setup ## Run the contract tests where cgroup v2 is live: on this host, or in a guest kernel
	IN_GUEST_ENGINE=$${IN_GUEST_ENGINE:-$(ENGINE)} tests/guest/in-guest --setup
	IN_GUEST_ENGINE=$${IN_GUEST_ENGINE:-$(ENGINE)} pytest tests/guest
	IN_GUEST_ENGINE=$${IN_GUEST_ENGINE:-$(ENGINE)} tests/guest/in-guest --timeout 1500 -- $(CURDIR)/$(BIN)/pytest tests/contract -p no:cacheprovider --timeout 300 \
	  --ignore tests/contract/test_cli.py --ignore tests/contract/test_generic_clients.py \
	  --ignore tests/contract/test_python_client.py --ignore tests/contract/test_python_examples.py \
	  --ignore tests/contract/test_go_client.py --ignore tests/contract/test_typescript_client.py \
	  --ignore tests/contract/test_examples.py --ignore tests/contract/test_troubleshooting.py

.PHONY: clients-ts
clients-ts: $(STAMP) $(TS_MODULES) ## Build and test the TypeScript client
	tools/node npm --prefix $(TS) run lint
	tools/node npm --prefix $(TS) run build
	tools/node npm --prefix $(TS) test

.PHONY: clients-examples
clients-examples: ## Compile the Java and the Rust example, where Maven and Cargo are
	tools/build-examples

.PHONY: host
host: ## Run all tests that need no live cgroup v2
	MAKEFLAGS= $(MAKE) --no-print-directory unit clients-go clients-ts clients-examples contract interop pages

# Says what it installs, or why it cannot, before the first minutes are spent.
.PHONY: preflight
preflight:
	@echo "make test installs into $(CURDIR)/$(VENV) and $(TS)/node_modules, from PyPI, npm and the Go module proxy."
	@IN_GUEST_ENGINE=$${IN_GUEST_ENGINE:-$(ENGINE)} tests/guest/in-guest --needs
	tools/make-venv --check

# Side by side: the guest is a process that uses one core.
.PHONY: test
test: preflight ## Everything that has to pass
	$(MAKE) --no-print-directory lint
	$(MAKE) --no-print-directory --output-sync=target --jobs=2 host contract-guest

# `make demo ENGINE=guest` runs it in a guest kernel; unset, the demo runs on this host.
DEMO_ENGINE = $(if $(filter file,$(origin ENGINE)),host,$(ENGINE))
.PHONY: demo
demo: ## Run real jobs through a real server, and leave nothing behind; ENGINE=guest: where limits are in force
	@tools/demo --check $(DEMO_ENGINE)
	@$(MAKE) --no-print-directory $(RUNTIME)
	@tools/demo $(DEMO_ENGINE)

.PHONY: picture
picture: $(STAMP) ## Record the demo in a guest kernel as docs/demo.svg
	tools/record-demo docs/demo.svg

.PHONY: soak
soak: setup ## Many readers, and many jobs that come and go: some minutes of load on this host
	pytest tests/soak --timeout 600 -p no:cacheprovider

.PHONY: bench
bench: setup ## Measure against the bare parts, in one run (ONLY="calls jobs": these groups of cases)
	PYTHONPATH=tests/support python bench/run.py $(ONLY)

.PHONY: lock
lock: $(STAMP) ## Resolve the dependencies anew
	$(LOCK) requirements.in -o requirements.txt
	$(LOCK) -c requirements.txt requirements-dev.in -o requirements-dev.txt

.PHONY: clean
clean: ## Remove what the other tasks made
	rm -rf $(TS)/node_modules $(TS)/dist
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
