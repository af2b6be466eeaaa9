# `make run` starts the demo, `make test` passes every test. Both install what they need.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# One build folder for all clones of this user: the second clone builds in seconds.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/alphapulse
export CARGO_TARGET_DIR ?= $(CACHE)/target
# Where rustup puts cargo, for shells that read no profile.
export PATH := $(PATH):$(HOME)/.cargo/bin
PROGRAM := $(CARGO_TARGET_DIR)/release/alphapulse

# Every target with a word of help is a command, not a file.
.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*\#\# .*/\1/p' Makefile)

help: ## say what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

run: build ## build and start the demo, everything simulated
	@echo "in another terminal: $(PROGRAM) tap"
	@exec $(PROGRAM) up

build: ## build the program
	@scripts/setup
	@cargo build --release --locked -p alphapulse

test: ## run every test
	@scripts/setup
	@scripts/test

clients: build ## run cryptofeed, alpaca-py, coinbase-advanced-py and Binance's connector against the emulator, 5 minutes each
	@python3 crates/emulator/tests/clients/run.py $(PROGRAM) --seconds 300

differential: ## hold books against NautilusTrader's on recorded frames, the ten best levels at some thousand instants
	@cargo build --release --locked -p alphapulse --example tops
	@python3 crates/alphapulse/tests/differential/run.py "$(CARGO_TARGET_DIR)/release/examples/tops"

netns: ## cut and restore the link between two machines (network namespaces; needs root)
	@cargo test --locked -p alphapulse --test netns -- --nocapture

fmt: ## format
	@cargo fmt --all

lint: ## what the tests check before they run
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --locked -- -D warnings

bench: build ## measure each part beside its reference (see docs/benchmarks.md)
	@$(PROGRAM) bench

bench-peers: ## measure beside barter-data, dbn, iceoryx2 and tungstenite
	@cargo run --release --locked --manifest-path benches/peers/Cargo.toml

bench-feeds: ## measure decoders beside cryptofeed, ccxt and tardis-dev
	@cargo build --release --locked -p benches --example half
	@python3 benches/peers/feeds/run.py "$(CARGO_TARGET_DIR)/release/examples/half"

bench-bars: ## measure bars beside pandas
	@cargo build --release --locked -p benches --example half
	@python3 benches/peers/bars/run.py "$(CARGO_TARGET_DIR)/release/examples/half"

crash: build ## kill each venue's feed 200 times in the middle of a session
	@scripts/crash 200

recorder-crash: build ## kill recorder, feeds and relay 1,000 times while they record
	@scripts/recorder-crash 1000

record: build ## measure what recording costs at 100,000 frames a second
	@python3 scripts/record.py $(PROGRAM)

loss: ## break connections and kill feeds and relays 200 times while 10,000,000 frames flow
	@scripts/loss 10000000 200 25000

soak: build ## 20 minutes of more than 100,000 frames a second
	@python3 scripts/soak.py $(PROGRAM) --minutes 20

memory: build ## measure five feeds with 250 deep books and the relay (at most 64 MiB)
	@python3 scripts/memory.py $(PROGRAM) --most 65536
	@python3 scripts/memory.py $(PROGRAM) --full

captures: ## kill the writer of a raw capture 1,000 times (some minutes)
	@ALPHAPULSE_TEST_KILLS=1000 cargo test --release --locked -p capture --test killed -- --nocapture

journal: ## flip each bit of a 1 MiB segment, kill its writer 1,000 times, 2,400 lives on a simulated disk (minutes)
	@ALPHAPULSE_TEST_FLIPS_BYTES=1048576 ALPHAPULSE_TEST_JOURNAL_KILLS=1000 ALPHAPULSE_TEST_JOURNAL_LIVES=300 \
	  cargo test --release --locked -p journal --lib --test killed --test simulated_disk -- --nocapture

power: ## cut the power under the journal 200 times, and stall its disk for 10 s (a file system of our own; needs root)
	@ALPHAPULSE_TEST_CUTS=200 ALPHAPULSE_TEST_STALL_MS=10000 cargo test --locked -p journal --test power -- --nocapture

flat: build ## watch five feeds with 50 deep books each for an hour and a half: KiB an instrument, and whether it grows
	@python3 scripts/memory.py $(PROGRAM) --each --instruments 50 --rate 200 --seconds 1800 --watch 60 --each-most 300 --growth 1024

books: ## the book against the plain one for 10^8 random updates (a minute or so)
	@cargo run --release --locked -p book --example long -- 100000000

table: ## kill the writer of a latest-value table 1,000 times under a reader (a minute or more)
	@ALPHAPULSE_TEST_KILLS=1000 cargo test --release --locked -p alphapulse-ring --test table_killed -- --nocapture

doors: ## 5,000 idle sockets, and Schemathesis with 50 requests of each kind, against the gateway (some minutes)
	@ALPHAPULSE_TEST_IDLE=5000 cargo test --locked -p gateway --test abuse idle
	@venv="$(CACHE)/schemathesis"; [ -x "$$venv/bin/python" ] || python3 -m venv "$$venv"; \
	"$$venv/bin/pip" install -q --disable-pip-version-check 'schemathesis>=4,<5'; \
	ALPHAPULSE_TEST_EXAMPLES=50 ALPHAPULSE_TEST_SCHEMATHESIS="$$venv/bin/schemathesis" \
		cargo test --locked -p gateway --test openapi -- --show-output

fuzz: ## fuzz every decoder for a minute each (needs nightly and cargo-fuzz)
	@scripts/fuzz.py --seconds 60

loom: ## model-check the ring
	@RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/loom cargo test --release --locked -p alphapulse-ring --lib

miri: ## run the ring's protocol tests under Miri (needs nightly with miri; some minutes)
	@if ! cargo +nightly miri --version >/dev/null 2>&1; then \
		echo "SKIPPED miri: get it with: rustup toolchain install nightly --component miri,rust-src"; exit 0; fi; \
	MIRIFLAGS=-Zmiri-disable-isolation cargo +nightly miri test -p alphapulse-ring --lib

clean: ## remove what was built
	@rm -rf "$(CARGO_TARGET_DIR)"
