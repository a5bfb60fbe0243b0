# Two commands do everything: `make run` and `make test`. Both install what is missing first.
SHELL := /bin/bash

.PHONY: run test soak check schema bench migrate clean

run: ## Serve on port 8788 with the demo market and, on Debian, the machine's own package catalogue
	@scripts/run

test: ## Run all tests against a private PostgreSQL and Redis (or those of PG_URL and REDIS_URL)
	@scripts/test

soak: ## Race a million reads against writers and break the stores for ten minutes (RACES, NEMESIS_SECONDS change that)
	scripts/bootstrap --test
	cargo build --locked --profile fast
	OVERLAY_BIN=$(CURDIR)/target/fast/overlay OVERLAY_RACES=$${RACES:-1000000} \
	    NEMESIS_SECONDS=$${NEMESIS_SECONDS:-600} NEMESIS_CUT_SECONDS=30 \
	    scripts/test --cargo-profile fast --profile soak -E 'test(/^races::/)'

check: ## What CI checks besides the tests
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

schema: ## Print schema.graphql anew
	cargo run --quiet --locked -- schema > schema.graphql.new && mv schema.graphql.new schema.graphql

bench: ## Time reads on the imported catalogue, cold and warm, and over HTTP beside bare servers (needs `make run` once before)
	scripts/bootstrap
	cargo build --locked --profile fast
	target/fast/overlay devstack --root .overlay -- cargo bench --locked --profile fast --bench reads
	target/fast/overlay devstack --root .overlay -- cargo bench --locked --profile fast --bench http

migrate: ## Bring the schema of the database up to date
	cargo run --quiet --locked --profile fast -- migrate up

clean: ## Remove build results and the private stores (their data too)
	cargo clean
	rm -rf .overlay
