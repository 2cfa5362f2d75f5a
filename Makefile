# The one front door: `make` lists what there is. CI calls the same targets (.ci/run).
SHELL := /bin/bash
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

CARGO ?= cargo
OPERATOR := cognito-reset-operator
# The release binary, which the demonstration and the end-to-end tests start. Name another one in the
# environment to have that used (and not built) instead.
TARGET_DIR := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
BINARY := $(TARGET_DIR)/release/$(OPERATOR)
COGNITO_RESET_OPERATOR_BIN ?= $(BINARY)
export COGNITO_RESET_OPERATOR_BIN
TESTBED := $(TARGET_DIR)/debug/testbed

say = @printf '==> %s\n'
# How long it takes where what it makes is not there yet: $(call first,FILE,MINUTES)
first = $(if $(wildcard $1),, (the first time takes about $2 minutes on two cores))

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: prepared ## Show it working: a real API server, an emulated Cognito, every outcome; stops what it started
	$(TESTBED) demo

.PHONY: up
up: prepared ## Start the same control plane and operator, and leave them running to play with
	$(TESTBED) up

.PHONY: down
down: testbed ## Stop what `make up` started
	$(TESTBED) down

.PHONY: check
check: check-format words clippy ## Run before every push: formatting, wording, clippy, unit tests and short walks of the model
	@.ci/progress "unit tests" $(CARGO) test --workspace --lib --locked
	@.ci/progress "the short walks of the model" $(MODEL) -- --skip two_

# An end-to-end test waits for most of its time, so more of them run at the same time than a small
# machine has processors. The model computes all the time, and gets what they leave.
ABREAST ?= 4

.PHONY: test
test: test-tools prepared ## Run every test of the project
	$(say) "building and running the tests (the first build takes about 5 minutes on two cores)"
	@.ci/progress "the build of the tests" $(CARGO) test --workspace --locked --no-run
	@status=0; \
	.ci/progress "the other tests" $(CARGO) test --workspace --exclude e2e --locked --no-fail-fast || status=$$?; \
	.ci/progress "the end-to-end tests" $(CARGO) test --workspace --test e2e --locked -- --test-threads=$(ABREAST) \
		::: "the model" nice -n 19 $(MODEL) || status=$$?; \
	exit $$status

# TESTS="permissions crds" runs those whose names contain one of the words.
.PHONY: test-chart
test-chart: test-tools packaging prepared ## Run the end-to-end tests with what the Helm chart makes in place of kustomize
	TESTBED_INSTALL=chart $(CARGO) test --workspace --test e2e --locked -- --test-threads=$(ABREAST) $(TESTS)

# The end-to-end tests that cannot pass on the oldest Kubernetes: those of the stamp, which needs MutatingAdmissionPolicy
# (1.36), and some whose result differs there (docs/upgrade.md).
STAMPED = approval::a_request approval::an_ audit:: hardening::only identity:: two_people::
DIFFERING = accepted_values::every_accepted_value invalid_objects::a_request_with invalid_objects::an_event_reports \
	malicious_input::a_request_older malicious_input::objects::a_request_without

.PHONY: test-oldest
test-oldest: test-tools build ## Run the end-to-end tests on the oldest supported Kubernetes (15 minutes, and 6 once; TESTS="crds" for some)
	@set -e; servers=$$(tests/testbed/tools oldest | head -n 1); \
	KUBEBUILDER_ASSETS=$$servers .ci/progress "the end-to-end tests on the oldest Kubernetes" \
		$(CARGO) test --workspace --test e2e --locked -- --test-threads=$(ABREAST) $(addprefix --skip=,$(STAMPED) $(DIFFERING)) $(TESTS)

.PHONY: skew
skew: test-tools prepared ## Run the operator and the CRDs of another commit with those of this one (FROM=v0.1.0)
	@tests/skew "$(FROM)"

# What `make fresh` runs.
FRESH ?= make demo && make test
export FRESH

.PHONY: fresh
fresh: ## Run both commands of the README in a clone with every cache empty (FRESH='...' for another command; an hour and a half)
	@.ci/require git
	@.ci/fresh "$$FRESH"

# What `make faults` does: CYCLES faults, or LOAD requests while replicas are killed; SEED repeats the order of an earlier
# run, and REPORT names a file for the report.
CYCLES ?= 200
CHAOS = $(if $(LOAD),--load=$(LOAD),--cycles=$(CYCLES)) $(if $(SEED),--seed=$(SEED)) $(if $(REPORT),--report=$(REPORT))

.PHONY: faults
faults: prepared ## Break everything that can break while two replicas work, and check every claim (CYCLES=2000 for long)
	@$(CARGO) build --quiet --locked --package clock
	$(TESTBED) faults $(CHAOS)

.PHONY: load
load: ## 10,000 requests while replicas are killed every few seconds (LOAD=... for another number)
	@$(MAKE) faults LOAD=$(or $(LOAD),10000)

.PHONY: monitoring
monitoring: ## Test the alerts and parse the dashboard with promtool (deploy/monitoring)
	@.ci/require go python3
	@.ci/progress "promtool" .ci/monitoring/check

# PICTURE names a file for a picture of the panels: docs/alerts/dashboard.svg is the one of the documentation.
.PHONY: monitoring-live
monitoring-live: prepared ## Have a real Prometheus scrape the operator during a load, and ask it all alerts and panels (PICTURE=... draws)
	@.ci/progress "the build of the load" $(CARGO) build --quiet --locked --workspace --bin monitoring
	$(TARGET_DIR)/debug/monitoring --prometheus "$$(.ci/monitoring/tools)/prometheus" $(if $(PICTURE),--picture "$(PICTURE)")

# What `make load-retention` does: RECORDS records; SEED repeats the order of an earlier run.
.PHONY: load-retention
load-retention: prepared ## Delete the old ones of 20,000 records in flat memory (RECORDS=... for another number; make test has a sample)
	RETENTION_RECORDS=$(or $(RECORDS),20000) $(if $(SEED),RETENTION_SEED=$(SEED)) \
		$(CARGO) test --locked --workspace --test e2e -- --nocapture retention_load

# What `make bench` does: RUNS runs of each scenario, or of those that ONLY names (rest, stream, backlog, budget, quota,
# replicas, moving-limit, memory, boto3). INSTALLED=deploy measures with the admission policies of deploy/.
.PHONY: bench
bench: servers build ## Measure speed, API requests, CPU and memory on a quiet machine (ONLY=rest,budget for some, RUNS=3; 15 minutes)
	@.ci/require cargo
	@.ci/progress "the build of the bench" $(CARGO) build --locked --workspace --bin bench
	$(TARGET_DIR)/debug/bench --operator "$(COGNITO_RESET_OPERATOR_BIN)" --output "$(TARGET_DIR)/bench" --runs $(or $(RUNS),1) \
		--installed $(or $(INSTALLED),crds) $(if $(ONLY),--only $(ONLY))

# What `make verify-aws` does: YES=1 asks no question, WITHOUT_LAMBDA=1 makes neither a role nor a function, WATCH=20 reads
# each user for so many seconds, REPORT names the directory of the report. VERIFY_AWS is another build of the program, and
# TEST_ENDPOINTS=1 lets it use an emulator.
VERIFY = $(or $(VERIFY_AWS),$(TARGET_DIR)/debug/verify-aws)
VERIFY_WHERE = $(if $(WITHOUT_LAMBDA),--without-lambda) $(if $(TEST_ENDPOINTS),--allow-test-endpoints)
.PHONY: verify-aws
verify-aws: verify-aws-built ## Compare the classification with the real service, in an AWS account of yours; prints the costs, and asks
	@$(VERIFY) run $(VERIFY_WHERE) --report "$(or $(REPORT),$(TARGET_DIR)/verify-aws)" $(if $(YES),--yes) \
		$(if $(WATCH),--watch $(WATCH))

.PHONY: verify-aws-clean
verify-aws-clean: verify-aws-built ## Remove what a run of verify-aws that was killed has left (RUN=...)
	@$(VERIFY) clean $(VERIFY_WHERE) "$(RUN)"

# Walks through millions of states: optimized, and built of nothing but what is pure.
MODEL = $(CARGO) test --locked --profile model --package cognito-reset-core --test model

.PHONY: model
model: ## Explore every order of events around the decision, and print what was explored (a part of make test, too)
	@.ci/require cargo
	$(MODEL) -- --nocapture

.PHONY: known-bad
known-bad: servers ## Break the operator on purpose, in each way of tests/known_bad, and ask that a test notices
	@.ci/require git
	@tests/known_bad/run

# Two halves: the code that decides, and the code that classifies responses. The many builds are
# faster without debug information.
MUTANTS = PATH="$$(dirname "$$(.ci/cargo-tool cargo-mutants 27.1.0)"):$$PATH" CARGO_PROFILE_DEV_DEBUG=0 $(CARGO) mutants --workspace --no-shuffle --jobs 2
.PHONY: mutants
mutants: ## Change the deciding code in every small way that cargo-mutants knows; a test has to notice each (an hour and a half)
	@.ci/require cargo
	@for half in mutants mutants-responses; do \
		$(MUTANTS) --config .cargo/$$half.toml --list | grep --quiet . \
		|| { echo ".cargo/$$half.toml finds no code to change" >&2; exit 1; }; \
	done
	$(MUTANTS) --output target
	$(MUTANTS) --config .cargo/mutants-responses.toml --output target/mutants-responses

# What `make fuzz` does: SECONDS for each target, and TARGET for one of them (tests/fuzz/targets).
.PHONY: fuzz
fuzz: ## Look for bad input that breaks a promise, guided by coverage (SECONDS=3600 for long, TARGET=replies for one)
	@.ci/require cargo c++
	@.ci/fuzz $(or $(SECONDS),60) $(TARGET)

.PHONY: lint
lint: check-format words clippy ## Check formatting and wording, and run clippy with warnings denied

.PHONY: check-format
check-format: ## Check that cargo fmt would change nothing
	@.ci/require cargo rustfmt
	$(CARGO) fmt --all --check

.PHONY: lint-repository
lint-repository: ## Check workflows, scripts, hooks, forms and the devcontainer
	@.ci/require go git python3
	@.ci/lint-repository

.PHONY: deny
deny: ## Check the dependencies' licences, sources and advisories
	@.ci/require cargo
	@.ci/deny

.PHONY: terraform
terraform: ## Check that deploy/iam/terraform gives what the JSON policies say (PROVIDERS=1 validates terraform/eks, too)
	@.ci/require git go
	@.ci/terraform

# Runs in the root of the repository. The program is small; Go keeps what it is built of.
GITOPS := $(TARGET_DIR)/gitops
build_gitops = cd .ci/gitops && GOWORK=off go build -mod=readonly -o "$(GITOPS)" .

.PHONY: gitops
gitops: ## Check deploy/gitops: health and actions in Lua, kstatus of every state, the examples
	@.ci/require go
	@$(build_gitops)
	@"$(GITOPS)"

.PHONY: generate-gitops
generate-gitops: ## Write the generated files of deploy/gitops and the table of docs/gitops.md again
	@.ci/require cargo go
	GENERATE_STATES=1 $(CARGO) test --quiet --workspace --locked --test conditions the_file_of_all_states
	@$(build_gitops)
	"$(GITOPS)" generate

.PHONY: sbom
sbom: ## Write the bill of materials, target/cognito-reset-operator.cdx.json (CycloneDX)
	@.ci/require cargo
	@.ci/sbom

.PHONY: build
build: ## Build the release binary: static on Linux, with the list of its dependencies in it
ifeq ($(COGNITO_RESET_OPERATOR_BIN),$(BINARY))
	@.ci/require cargo static
	$(say) "building the operator$(call first,$(BINARY),7)"
	@.ci/build
else
	$(say) "using the operator at $(COGNITO_RESET_OPERATOR_BIN)"
endif

.PHONY: plugin
plugin: ## Build the kubectl plugin, and package it for krew: target/plugin
	@.ci/require cargo static python3
	@.ci/build --plugin
	@.ci/krew archive "$(TARGET_DIR)/release/kubectl-cognito_reset" "$(PLATFORM)" "$(TARGET_DIR)/plugin"
	$(say) "$(TARGET_DIR)/plugin/kubectl-cognito_reset-$(PLATFORM).tar.gz"

# The image of this machine's architecture, as a folder in the layout of OCI; and of it one file.
ARCHITECTURE = $(patsubst x86_64,amd64,$(patsubst aarch64,arm64,$(shell uname -m)))
PLATFORM = $(patsubst Darwin,darwin,$(patsubst Linux,linux,$(shell uname -s)))-$(ARCHITECTURE)
IMAGES := $(TARGET_DIR)/image
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
ARCHIVE = $(IMAGES)/$(OPERATOR)-$(VERSION)-linux-$1.tar

# What people apply who use neither Helm nor kustomize: the CRDs and the base, with the image named.
INSTALL := $(TARGET_DIR)/install.yaml
.PHONY: install-yaml
install-yaml: ## Write target/install.yaml, the CRDs and the base in one file (IMAGE=registry.example.com/operator@sha256:...)
	@.ci/install-yaml "$(IMAGE)" "$(INSTALL)"

.PHONY: image
image: build ## Build the image from scratch, target/image/ARCHITECTURE (amd64 or arm64, as this machine)
	@.ci/require go python3
	@.ci/image/build "$(COGNITO_RESET_OPERATOR_BIN)" $(ARCHITECTURE) "$(IMAGES)/$(ARCHITECTURE)"

.PHONY: image-archive
image-archive: image ## Write the image as one file, for machines without a network
	@.ci/image/archive.py "$(IMAGES)/$(ARCHITECTURE)" $(OPERATOR):$(VERSION) "$(call ARCHIVE,$(ARCHITECTURE))"
	$(say) "$(call ARCHIVE,$(ARCHITECTURE))"

.PHONY: image-arm
image-arm: ## Build the image for arm64 on amd64 too, and start its program in an emulator (10 minutes)
	@.ci/require cargo go python3
	@.ci/image/arm64 "$(IMAGES)/arm64"

.PHONY: image-reproducible
image-reproducible: image ## Build the image once more, from HEAD in another folder, and compare the digests (10 minutes)
	@.ci/require git
	@.ci/image/reproducible "$(IMAGES)/$(ARCHITECTURE)" $(ARCHITECTURE)

# Built with the features of the whole workspace, so that `make test` does not build its crates again.
REFERENCE = $(CARGO) build --quiet --locked --workspace --example reference && $(TARGET_DIR)/debug/examples/reference
.PHONY: generate
generate: build ## Write the generated files (crds/, docs/reference/, docs/metrics.md) again
	"$(COGNITO_RESET_OPERATOR_BIN)" crds --out-dir crds
	$(REFERENCE) .
	UPDATE_METRICS_REFERENCE=1 $(CARGO) test --quiet --locked --workspace --lib -- reference_of_metrics

.PHONY: check-generated
check-generated: build ## Fail if the generated files are not up to date
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && \
	$(REFERENCE) "$$fresh" && \
	"$(COGNITO_RESET_OPERATOR_BIN)" crds --out-dir "$$fresh/crds" && \
	if diff -ru --exclude=kustomization.yaml crds "$$fresh/crds" && diff -ru docs/reference "$$fresh/docs/reference"; then \
		echo "==> crds/ and docs/reference/ are up to date"; \
	else \
		echo "==> crds/ or docs/reference/ differs from what the code says. Run 'make generate' and commit the result." >&2; exit 1; \
	fi

.PHONY: book
book: ## Build the book, target/book/index.html, and check its links
	@.ci/require cargo git python3
	@.ci/book

.PHONY: packaging
packaging: ## Build the tools that package the operator: helm and its tests, kwok (once, then cached)
	@.ci/require go git
	@.ci/packaging/tools >/dev/null

.PHONY: chart
chart: packaging ## Lint and test the Helm chart, and check that its generated files are up to date
	@.ci/require python3
	@.ci/chart check

.PHONY: generate-chart
generate-chart: packaging ## Write the generated files of the Helm chart again (copies, schema, README)
	@.ci/require python3
	@.ci/chart generate

.PHONY: clean
clean: ## Remove what was built here (caches of servers and tools stay)
	$(CARGO) clean

# Not listed: steps of the targets above.
.PHONY: test-tools
test-tools:
	@.ci/require cargo go python3 jq unshare container

.PHONY: words
words:
	@.ci/require git python3
	@.ci/words/test_check.py --quiet
	@.ci/words/check.py

.PHONY: clippy
clippy:
	@.ci/require cargo clippy
	$(say) "clippy (the first run takes about 4 minutes on two cores)"
	@# Each crate alone: a build of the workspace unifies features, and hides a missing one.
	@for crate in api core aws; do \
		.ci/progress "check of $$crate alone" $(CARGO) check --quiet --locked --package cognito-reset-$$crate || exit; \
	done
	@# Includes the targets of make fuzz. Nothing is linked, so that neither libFuzzer nor a C++
	@# compiler is needed.
	@CUSTOM_LIBFUZZER_PATH=none/libnone.a .ci/progress clippy $(CARGO) clippy --workspace --all-targets \
		--features fuzz/libfuzzer --locked -- -D warnings

# Builds the servers with Go and, side by side with them, the operator and the testbed with cargo.
demo up faults: AND = testbed
.PHONY: prepared
prepared:
	@.ci/require cargo go python3
	@.ci/progress "the servers" $(MAKE) servers ::: "the operator" $(MAKE) build $(AND)

.PHONY: servers
servers:
	@.ci/require cargo go python3
	$(say) "kube-apiserver, etcd and moto (built once, then cached)"
	@tests/testbed/tools >/dev/null

.PHONY: testbed
testbed:
	@.ci/require cargo
	$(say) "building the testbed and the kubectl plugin$(call first,$(TESTBED),4)"
	@# With the features of the whole workspace, so that `make test` does not build its crates again.
	@$(CARGO) build --locked --workspace --bin testbed --bin kubectl-cognito_reset

.PHONY: verify-aws-built
verify-aws-built:
ifndef VERIFY_AWS
	@.ci/require cargo
	$(say) "building verify-aws$(call first,$(VERIFY),4)"
	@$(CARGO) build --locked --workspace --bin verify-aws
endif
