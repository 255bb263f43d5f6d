# What people and CI run. `make setup` is part of every target that needs PostgreSQL; it installs only what is missing.

CARGO ?= cargo
# dev or release; the demo and the tests share what they build.
PROFILE ?= dev

# Scenarios mostly wait for servers: more of them at once than there are cores.
TEST_THREADS ?= 4

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
PROGRAMS := $(TARGET_DIR)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))

# The scenarios that an older source, which lacks logical messages and more, makes harder.
OLD_SOURCE := exactly_once idle spine once large_transaction sequences peer_001 peer_003 peer_010 peer_013 peer_100

# An error's own words say enough; a backtrace for each of them hides it.
export RUST_LIB_BACKTRACE ?= 0

.PHONY: help setup build demo lint test soak bench

help:
	@echo 'make demo    two servers of its own, a million rows, live writes, three processes; ends by itself'
	@echo 'make test    every test, on real servers'
	@echo 'make lint    formatting, clippy, dependencies'
	@echo 'make soak    the long runs: many kills, five million rows in a transaction, all pairs of versions, old sources, fuzzing'
	@echo 'make bench   the change stream beside native replication, whole copies beside pgcopydb and others; schemas'
	@echo 'make build   the programs, in target/; PROFILE=release for the fast ones'

setup:
	@deploy/demo/setup.sh

build:
	$(CARGO) build --workspace --bins --profile $(PROFILE)

demo: setup build
	deploy/demo/run.sh $(PROGRAMS)

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	.ci/one-tls-provider
	.ci/dependencies

# The scenarios run the programs, so they are built first.
test: setup
	$(CARGO) build --workspace --bins
	$(CARGO) test --workspace -- --test-threads=$(TEST_THREADS)

soak: setup
	$(CARGO) build --workspace --bins
	STRAIT_TEST_KILLS=50 STRAIT_TEST_ROWS=5000000 STRAIT_TEST_TABLES=5500 STRAIT_TEST_PATIENCE=10 \
	$(CARGO) test --package strait-tests --test scenarios -- --include-ignored --test-threads=2
	for version in 12 13; do \
	STRAIT_TEST_SOURCE=$$version $(CARGO) test --package strait-tests --test scenarios -- --test-threads=2 $(OLD_SOURCE) || exit 1; \
	done
	$(CARGO) test --package strait-coordinator --lib -- --ignored --nocapture
	STRAIT_FUZZ_SECONDS=300 $(CARGO) test --package strait-postgres --package strait-sink-agent --lib fuzz

bench: setup
	$(CARGO) build --workspace --bins --release
	$(TARGET_DIR)/release/strait-bench
