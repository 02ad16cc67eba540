# All tasks of the project. CI calls the same targets.
SHELL := /bin/bash -euo pipefail
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
CLUSTER := $(VENV)/.cluster
STAMP := $(VENV)/.installed
# Root on a host with cgroup v2 does not need a guest. Otherwise user-mode-linux is the fastest guest for Python.
ENGINE = $(shell [ "$$(id -u)" = 0 ] && grep -qw memory /sys/fs/cgroup/cgroup.controllers 2>/dev/null && echo host || echo uml)
GRPCURL_VERSION := v1.9.3
# protoc-gen-go is part of google.golang.org/protobuf. Use the version in clients/go/go.mod.
PROTOC_GEN_GO_VERSION := v1.36.12
PROTOC_GEN_GO_GRPC_VERSION := v1.6.2
PROTOC_PLUGINS := $(BIN)/protoc-gen-go $(BIN)/protoc-gen-go-grpc
TS := clients/typescript
TS_MODULES := $(TS)/node_modules/.package-lock.json
WEB := services/dashboard/web
WEB_MODULES := $(WEB)/node_modules/.package-lock.json
DOCS := .cache/docs
DOCS_STAMP := $(DOCS)/.installed
SITE := tools/site
SITE_MODULES := $(SITE)/node_modules/.package-lock.json
export PATH := $(CURDIR)/$(BIN):$(PATH)

LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-annotate --no-header \
  --no-emit-package jobworker-api --no-emit-package jobworker-worker --no-emit-package jobworker-client --no-emit-package jobworker-cli \
  --no-emit-package jobworker-dashboard --no-emit-package jobworker-cluster --no-emit-package jobworker-gateway \
  --no-emit-package jobworker-agent

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

.PHONY: setup
setup: $(STAMP) $(BIN)/grpcurl $(PROTOC_PLUGINS) ## Create .venv with the tools of all targets

# Only the programs, so that `make demo` does not install development tools.
$(RUNTIME): requirements.txt gen/python/pyproject.toml services/worker/pyproject.toml services/dashboard/pyproject.toml \
  clients/python/pyproject.toml clients/cli/pyproject.toml
	tools/make-venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	  -e gen/python -e services/worker -e services/dashboard -e clients/python -e clients/cli
	touch $@

# The programs of a cluster are separate, so that a single host gets none of their dependencies.
$(CLUSTER): $(RUNTIME) requirements-cluster.txt services/cluster/pyproject.toml services/gateway/pyproject.toml \
  services/agent/pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements-cluster.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	  -e services/cluster -e services/gateway -e services/agent
	touch $@

$(STAMP): $(CLUSTER) requirements-dev.txt
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

$(WEB_MODULES): $(WEB)/package.json $(WEB)/package-lock.json
	tools/node npm --prefix $(WEB) ci
	touch $@

$(DOCS_STAMP): requirements-docs.txt
	tools/make-venv $(DOCS)
	$(DOCS)/bin/pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements-docs.txt
	touch $@

$(SITE_MODULES): $(SITE)/package.json $(SITE)/package-lock.json
	tools/node npm --prefix $(SITE) ci
	touch $@

.PHONY: cluster-setup
cluster-setup: $(CLUSTER) ## Create .venv with the programs only, those of a cluster among them

.PHONY: generate
generate: $(STAMP) $(PROTOC_PLUGINS) $(TS_MODULES) ## Generate code and docs/api.md from proto/
	tools/generate
	tools/make-api-page docs/api.md

# At a release: from then on, `make lint` compares proto/ with this image.
.PHONY: api-image
api-image: $(STAMP) ## Renew the image of the API that make lint compares proto/ with
	buf breaking --against proto/jobworker-v1.binpb
	buf build --exclude-source-info -o proto/jobworker-v1.binpb

.PHONY: lint
lint: $(STAMP) ## Check protos, prose, style, types, layers, workflows, lock files and the image
	buf lint
	buf format -d --exit-code
	buf build -o /dev/null
	tools/check-breaking
	tools/check-api-page
	tools/check-prose
	tools/check-requirements
	ruff check .
	ruff format --check .
	mypy services clients/python clients/cli tests bench
	lint-imports
	check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	zizmor --offline --quiet .github/workflows
	hadolint packaging/image/Dockerfile packaging/image/gateway.Dockerfile
	check-jsonschema --builtin-schema vendor.compose-spec packaging/image/compose.yaml

.PHONY: drift
drift: $(STAMP) $(PROTOC_PLUGINS) $(TS_MODULES) $(WEB_MODULES) ## Check that the generated code and the page of the dashboard match their sources
	tools/check-generated
	tools/check-bundle

# Go is optional here. `make clients-go` installs it, and fails if the Go code is not formatted.
.PHONY: format
format: $(STAMP) ## Format protos and Python, and Go code if Go is installed
	buf format -w
	ruff check --fix .
	ruff format .
	if command -v go >/dev/null || [ -x .cache/go/bin/go ]; then tools/go gofmt -w clients/go; fi

.PHONY: unit
unit: $(STAMP) ## Run the unit tests
	pytest tests/unit -n 6 --dist loadfile

.PHONY: clients-go
clients-go: ## Check and test the Go client
	@files=$$(tools/go gofmt -l clients/go); [ -z "$$files" ] || { echo "unformatted Go files, run make format: $$files" >&2; exit 1; }
	tools/go -C clients/go vet ./...
	tools/go -C clients/go test ./...

.PHONY: metrics-tools
metrics-tools: ## Download Debian's prometheus and promtool to .cache, for the tests of the metrics
	tools/prometheus --setup

.PHONY: contract
contract: setup metrics-tools $(TS_MODULES) ## Run the contract tests that do not need cgroup v2, on this host
	pytest tests/contract -m "not cgroup" -n 3 --dist loadfile

.PHONY: interop
interop: setup $(TS_MODULES) ## Run the same scenarios with every client and print the matrix
	pytest tests/interop

.PHONY: pages
pages: setup $(TS_MODULES) ## Run the code blocks of README.md and docs/ against a live server
	tools/node npm --prefix $(TS) run build
	pytest tests/docs

.PHONY: browser
browser: setup docs ## Test the dashboard and the documentation site in Chromium; traces of failed tests are in .cache/browser
	tools/chromium --setup
	pytest tests/browser

# The results of these tests do not depend on the controllers, and the guest is many times slower than the host.
HOST_ONLY = abuse api_user authorization broken_disk broken_file_system broken_logs certificate_tools certificates cli cli_restarts \
  cli_stream cli_terminal cli_tmux dashboard examples exhaustion files gateway_relay generic_clients go_client go_stubs hard_cases hard_commands metrics \
  node_service python_client python_examples \
  queue queue_order server_certificates server_life shutdown shared_dashboard signals stalled_log stdin stream survival survival_calls terminal \
  survival_commands survival_creates survival_failed_start survival_history survival_output survival_reload system_calls \
  traces troubleshooting typescript_client wait watch
# Neither do the results of these, but an unprivileged user can run them only in the guest.
NEED_ROOT = accounts attacks devices isolation keyrings killed_keeper mounts rootless
NOT_IN_GUEST = $(HOST_ONLY) $(if $(filter 0,$(shell id -u)),$(NEED_ROOT))

.PHONY: contract-guest
contract-guest: setup ## Run the contract tests with cgroup v2, on this host or in a guest kernel
	IN_GUEST_ENGINE=$${IN_GUEST_ENGINE:-$(ENGINE)} tests/guest/in-guest --setup
	IN_GUEST_ENGINE=$${IN_GUEST_ENGINE:-$(ENGINE)} pytest tests/guest
	IN_GUEST_ENGINE=$${IN_GUEST_ENGINE:-$(ENGINE)} tests/guest/in-guest --timeout 2400 -- $(CURDIR)/$(BIN)/pytest tests/contract -p no:cacheprovider --timeout 300 \
	  $(NOT_IN_GUEST:%=--ignore tests/contract/test_%.py)

.PHONY: test-install
test-install: $(STAMP) ## Install the Debian package on a machine with systemd, in a guest kernel (as root)
	tests/install/setup
	pytest tests/install -n 2 --dist loadfile -x -p no:cacheprovider --timeout 900

.PHONY: control-plane
control-plane: ## Build the programs of the control plane in ~/.cache/jobworker, for test-cluster (15 to 30 minutes)
	tools/control-plane --setup

# The gateways of the tests keep their records there.
.PHONY: postgresql
postgresql: ## Install PostgreSQL with apt-get if it is missing (root)
	tools/postgresql --setup

.PHONY: test-cluster
test-cluster: setup metrics-tools postgresql control-plane $(TS_MODULES) ## Test a cluster of three hosts with a control plane of Kubernetes (as root)
	tools/chromium --setup
	pytest tests/cluster -s -p no:cacheprovider --timeout 600

# No --quiet: it would hide the warnings from --strict, too.
.PHONY: docs
docs: $(RUNTIME) $(DOCS_STAMP) $(SITE_MODULES) ## Build the pages in docs/ as a site in dist/docs; a broken link fails
	rm -rf $(DOCS)/pages
	tools/make-reference-pages $(DOCS)/pages
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build
	tools/check-site dist/docs

.PHONY: wheels
wheels: $(STAMP) ## Build the wheels of the eight Python packages in dist/
	tools/make-wheels dist

.PHONY: deb
deb: $(STAMP) ## Build the Debian package in dist/
	tools/make-deb dist

.PHONY: deb-cluster
deb-cluster: $(STAMP) ## Build the Debian package of the agent and the gateway in dist/
	tools/make-deb --package jobworker-cluster dist

.PHONY: image
image: ## Build the container image with Docker or Podman
	tools/make-image

.PHONY: image-gateway
image-gateway: ## Build the container image of the gateway with Docker or Podman
	tools/make-image gateway

.PHONY: clients-ts
clients-ts: $(STAMP) $(TS_MODULES) ## Build and test the TypeScript client
	tools/node npm --prefix $(TS) run lint
	tools/node npm --prefix $(TS) run build
	tools/node npm --prefix $(TS) test

# The built page is committed, so that the installation does not need Node.
.PHONY: dashboard
dashboard: $(TS_MODULES) $(WEB_MODULES) ## Build the page of the dashboard
	tools/node npm --prefix $(WEB) run build

.PHONY: dashboard-test
dashboard-test: $(TS_MODULES) $(WEB_MODULES) ## Check the sources of the page and run their unit tests
	tools/node npm --prefix $(WEB) run lint
	tools/node npm --prefix $(WEB) run types
	tools/node npm --prefix $(WEB) test

.PHONY: clients-examples
clients-examples: ## Compile the Java and Rust examples if Maven and Cargo are installed
	tools/build-examples

.PHONY: host
host: ## Run all tests that do not need cgroup v2
	MAKEFLAGS= $(MAKE) --no-print-directory unit clients-go clients-ts dashboard-test clients-examples contract interop pages browser

# Reports missing packages before the slow steps begin.
.PHONY: preflight
preflight:
	@echo "make test installs packages from PyPI, npm and the Go module proxy in $(CURDIR)/$(VENV), $(DOCS), $(TS)/node_modules, $(WEB)/node_modules and $(SITE)/node_modules."
	@IN_GUEST_ENGINE=$${IN_GUEST_ENGINE:-$(ENGINE)} tests/guest/in-guest --needs
	@tools/chromium --check
	@tools/prometheus --check
	tools/make-venv --check

# The guest is one process on one core, so tests of the host run at the same time, in two sequences of similar length.
.PHONY: test
test: preflight ## Run all checks and tests
	$(MAKE) --no-print-directory lint drift
	$(MAKE) --no-print-directory --output-sync=target --jobs=2 test-first test-second

.PHONY: test-first
test-first:
	MAKEFLAGS= $(MAKE) --no-print-directory unit clients-go clients-examples contract

.PHONY: test-second
test-second:
	MAKEFLAGS= $(MAKE) --no-print-directory ENGINE=$(ENGINE) clients-ts dashboard-test contract-guest interop pages browser

# The demo runs on this host unless ENGINE is set on the command line.
DEMO_ENGINE = $(if $(filter file,$(origin ENGINE)),host,$(ENGINE))
.PHONY: demo
demo: ## Run jobs on a temporary server (ENGINE=guest: in a guest kernel that enforces limits)
	@tools/demo --check $(DEMO_ENGINE)
	@$(MAKE) --no-print-directory $(RUNTIME)
	@tools/demo $(DEMO_ENGINE)

.PHONY: demo-dashboard
demo-dashboard: $(RUNTIME) ## Start a temporary server with ten jobs and the dashboard, and print its address
	@tools/demo-dashboard

.PHONY: demo-cluster
demo-cluster: $(STAMP) postgresql control-plane ## Run 30 jobs on a temporary cluster of three hosts, and let a host fail (as root; KEEP=1: only keep the cluster until Ctrl-C)
	@python tools/demo-cluster $(if $(KEEP),--keep)

.PHONY: screenshots
screenshots: setup ## Take the pictures of docs/dashboard.md
	tools/chromium --setup
	pytest tests/browser/test_screenshots.py --screenshots docs/dashboard

.PHONY: picture
picture: $(STAMP) ## Record the demo in a guest kernel as docs/demo.svg
	tools/record-demo docs/demo.svg

.PHONY: soak
soak: soak-load soak-faults ## Run soak-load and soak-faults

.PHONY: soak-load
soak-load: setup ## Run many readers and many short jobs for some minutes on this host
	pytest tests/soak --ignore tests/soak/faults --timeout 600 -p no:cacheprovider

.PHONY: soak-faults
soak-faults: setup ## Kill parts of the server under load for SOAK_SECONDS (default: 600); SOAK_SEED repeats a run
	pytest tests/soak/faults -s -p no:cacheprovider -m "not own_kernel"

.PHONY: soak-clock
soak-clock: setup ## Run the same faults for two minutes in a guest kernel, and step its clock
	IN_GUEST_ENGINE=$${IN_GUEST_ENGINE:-$(ENGINE)} tests/guest/in-guest --timeout 1200 -- $(CURDIR)/$(BIN)/pytest tests/soak/faults -s -p no:cacheprovider --timeout 1100 -m own_kernel

.PHONY: fuzz
fuzz: setup ## Send arbitrary requests, messages and files to the server for FUZZ_SECONDS (default: 600)
	pytest tests/fuzz -s --timeout 0 -p no:cacheprovider

.PHONY: bench
bench: setup postgresql control-plane ## Measure the server beside its bare parts (ONLY="calls jobs": these groups of cases)
	PYTHONPATH=tests/support:. python bench/run.py $(ONLY)

.PHONY: bench-scale
bench-scale: setup control-plane ## Measure a cluster of 500 virtual nodes with Kubernetes' control plane (as root)
	PYTHONPATH=.:tests/support:tests/contract python bench/cluster_scale.py

.PHONY: lock
lock: $(STAMP) ## Update the lock files
	$(LOCK) requirements.in -o requirements.txt
	$(LOCK) -c requirements.txt requirements-cluster.in -o requirements-cluster.txt
	$(LOCK) -c requirements.txt -c requirements-cluster.txt requirements-dev.in -o requirements-dev.txt
	$(LOCK) requirements-docs.in -o requirements-docs.txt

.PHONY: clean
clean: ## Remove the files that other targets create
	rm -rf $(TS)/node_modules $(TS)/dist $(WEB)/node_modules $(WEB)/dist $(SITE)/node_modules
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
