# Everything a developer does, one word each. `make` alone lists the words.

DATA_DIR ?= ./data
LISTEN ?=
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
BENCH := $(TARGET_DIR)/release/metricsd-benches
BENCH_JSON := $(TARGET_DIR)/bench.json
BENCH_SERVERS = --binary $(TARGET_DIR)/release/metricsd --storage "$$METRICSD_TEST_POSTGRES_URL" --peers "$$METRICSD_TEST_PEERS_DIR"
SCRIPTS := scripts/*.sh scripts/services/*.sh .ci/run

.DEFAULT_GOAL := help
.PHONY: help run build test services services-stop services-status peers check check-format check-files check-lint \
	check-docs bench bench-peers test-faults fmt clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## Build and start metricsd standalone (DATA_DIR=./data, LISTEN=127.0.0.1:9099)
	$(TARGET_DIR)/release/metricsd run --data-dir "$(DATA_DIR)" $(if $(LISTEN),--listen "$(LISTEN)")

build: ## Build the release binary, installing a C compiler first when there is none
	@scripts/build_tools.sh
	cargo build --release -p metricsd

test: ## Start the real servers, run every test, print how many passed
	@scripts/build_tools.sh
	@scripts/services.sh start
	@scripts/test.sh

test-faults: ## Kill what can be killed while samples come in, then count (SECONDS=600 for the long form)
	@scripts/build_tools.sh
	@scripts/services.sh start
	@scripts/test_faults.sh $(or $(SECONDS),60)

services: ## Start the real servers for tests and write .services.env
	@scripts/services.sh start

services-stop: ## Stop them
	@scripts/services.sh stop

services-status: ## Say which of them answer
	@scripts/services.sh status

peers: ## Install Prometheus and VictoriaMetrics, which the benchmark sets beside metricsd
	@scripts/services.sh peers

check: check-format check-files check-lint check-docs ## Format, lints, docs, licences, bans, scripts, compose file
	@echo "check: all good"

check-format:
	cargo fmt --all -- --check

check-files:
	scripts/check_lengths.sh
	scripts/check_invariants.sh
	python3 scripts/licences.py
	scripts/with_yaml.sh scripts/check_compose.py docker-compose.yml deploy/compose.test.yml
	@if command -v shellcheck >/dev/null; then echo "shellcheck $(SCRIPTS)"; shellcheck -x $(SCRIPTS); \
	else echo "check: shellcheck is not installed, scripts are only parsed"; \
	for script in $(SCRIPTS); do bash -n "$$script" || exit 1; done; fi

check-lint:
	@scripts/build_tools.sh
	cargo clippy --workspace --all-targets -- -D warnings

check-docs:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

bench: ## Measure a release build beside Prometheus and VictoriaMetrics; rewrites docs/performance.md (QUICK=1 does not)
	@scripts/build_tools.sh
	@scripts/services.sh start
	@scripts/services.sh peers || echo "bench: not every peer could be installed; what is there is measured"
	cargo build --release -p metricsd -p metricsd-benches
	@rm -f $(BENCH_JSON)
	@. ./.services.env; $(BENCH) all $(BENCH_SERVERS) --json $(BENCH_JSON) $(if $(QUICK),--quick,--report docs/performance.md)
	@$(if $(QUICK),true,$(MAKE) --no-print-directory bench-peers)

bench-peers: ## Only the many questions of that, on the release build that is there
	@. ./.services.env; $(BENCH) peers $(BENCH_SERVERS) --report docs/performance.md

fmt: ## Format the code
	cargo fmt --all

clean: ## Remove what was built (data and servers stay)
	cargo clean
