# Varve. `make run` and `make test` are all the set-up there is; `make help` lists the rest.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# In an archive without .git the version is "dev" and the commit unknown.
VERSION ?= $(shell git describe --tags --match 'v*' --dirty 2>/dev/null || echo dev)
COMMIT ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null)
LDFLAGS = -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
BUILD = CGO_ENABLED=0 go build -trimpath -buildvcs=false
TOOL = go tool -modfile=tools/go.mod

FUZZTIME ?= 30s
BENCHTIME ?= 1s
BENCH ?= .
KILLS ?= 10
SCALE_WAL_MIB ?= 2048
JAVA_VERSIONS ?= 4.9.8 5.5.0
JAVA_NEXT ?= $(error say which: make conformance-java-next JAVA_NEXT=5.x.y)

# $(call bounded,SECONDS) ends a command that hangs, where coreutils has timeout.
bounded = $(if $(shell command -v timeout),timeout --kill-after=20 $(1))

# Against a broker of its own. The quick start has localhost:9876 in its source.
WITH_VARVE = conformance/with-varve.sh
CONFORM = $(call bounded,600) $(WITH_VARVE) -- conformance/run.sh
CONFORM_SEED = $(call bounded,300) $(WITH_VARVE) --default-ports -- conformance/run.sh seed

##@ Every day

.PHONY: help
help: ## Show this
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z0-9-]+:.*## / {printf "  make %-24s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/varve
	$(BUILD) -ldflags '$(LDFLAGS)' -o bin/varve ./cmd/varve

.PHONY: run
run: ## Fetch modules, build, start a broker with everything embedded (RUN_FLAGS=…)
	@go mod download
	@$(MAKE) --no-print-directory build
	@exec bin/varve server $(RUN_FLAGS)

.PHONY: test race
test: race-detector ## The whole Go suite, race detector on; needs no server
	CGO_ENABLED=1 VARVE_TEST_RACE=on $(call bounded,1200) go test -race -shuffle=on -timeout 15m ./...

race: test ## The same: the suite always runs with the race detector

# -race needs cgo, which needs a C compiler; without this check the message is about a missing gcc
# deep in the runtime. That the detector is on in the tests themselves, a test in cmd/varve checks.
.PHONY: race-detector
race-detector:
	@command -v "$$(go env CC | cut -d' ' -f1)" >/dev/null || \
	  { echo "make test: the race detector needs a C compiler; there is no $$(go env CC)" >&2; exit 1; }

.PHONY: lint
lint: ## golangci-lint with the layer rules, gofmt, vet
	@unformatted=$$(gofmt -l .); \
	  test -z "$$unformatted" || { echo "gofmt -w these:" >&2; echo "$$unformatted" >&2; exit 1; }
	$(call bounded,300) go vet ./...
	$(call bounded,600) $(TOOL) golangci-lint run ./...

# Every step runs even when one before it failed, so that one run shows all there is to mend.
CHECK_STEPS = lint tidy generated build test conformance-java conformance-seed conformance-mqadmin conformance-go crash test-s3 tier

.PHONY: check
check: ## What CI runs: lint, test, build, real clients, kill -9
	@failed=0; summary=""; begin=$$SECONDS; \
	for step in $(CHECK_STEPS); do \
	  echo "==== $$step"; started=$$SECONDS; verdict=ok; \
	  $(MAKE) --no-print-directory $$step </dev/null || { verdict=FAILED; failed=1; }; \
	  line=$$(printf '%-7s %-20s %4d s' $$verdict $$step $$((SECONDS - started))); \
	  echo "==== $$line"; summary+="$$line"$$'\n'; \
	done; \
	printf '\n%s        all %24d s\n' "$$summary" $$((SECONDS - begin)); \
	exit $$failed

##@ Longer

.PHONY: fuzz
fuzz: ## Every fuzz target for FUZZTIME (30s)
	@targets=$$(go test -list '^Fuzz' ./... | awk '/^Fuzz/ {names[n++] = $$1; next} \
	    /^ok/ {for (i = 0; i < n; i++) print $$2, names[i]; n = 0; next} {n = 0}'); \
	test -n "$$targets" || { echo "make fuzz: no fuzz target found" >&2; exit 1; }; \
	while read -r pkg name; do \
	  echo "== $$pkg $$name"; \
	  $(call bounded,600) go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$pkg" </dev/null; \
	done <<<"$$targets"

.PHONY: bench
bench: ## Go benchmarks with allocations (BENCH=regexp BENCHTIME=1s)
	$(call bounded,3600) go test -run '^$$' -bench '$(BENCH)' -benchmem -benchtime $(BENCHTIME) -timeout 55m ./...

.PHONY: vuln
vuln: ## Known vulnerabilities in what the code calls (needs the vulnerability database)
	$(call bounded,600) $(TOOL) govulncheck ./...

##@ Real clients

.PHONY: conformance conformance-java conformance-java-next conformance-seed conformance-mqadmin conformance-go
conformance: conformance-java conformance-seed conformance-mqadmin conformance-go ## All of these, against bin/varve

conformance-java: build ## The Java client, each of JAVA_VERSIONS
	@for v in $(JAVA_VERSIONS); do echo "== java client $$v"; $(CONFORM) java $$v; done

conformance-java-next: build ## The Java client, the version in JAVA_NEXT
	$(CONFORM) java $(JAVA_NEXT)

conformance-seed: build ## The quick start in Java, each of JAVA_VERSIONS; takes the default ports
	@for v in $(JAVA_VERSIONS); do echo "== quick start, java client $$v"; $(CONFORM_SEED) $$v; done

conformance-mqadmin: build ## The administration tool, each of JAVA_VERSIONS
	@for v in $(JAVA_VERSIONS); do echo "== mqadmin $$v"; $(CONFORM) mqadmin $$v; done

conformance-go: build ## rocketmq-client-go, its release and its newest commit
	@for v in go go-next; do echo "== rocketmq-client-go: $$v"; $(CONFORM) $$v; done

.PHONY: client-apache
client-apache: ## Varve's own Go client against Apache RocketMQ, which it starts and stops
	$(call bounded,900) conformance/reference/with-apache.sh -- \
	  go test -count=1 -timeout 9m -run '^TestIntegration$$' ./client

##@ Crashes

.PHONY: powercut
powercut: ## Build bin/varve-powercut: writes stay in the process until they are synced
	$(BUILD) -tags powercut -ldflags '$(LDFLAGS)' -o bin/varve-powercut ./cmd/varve

# Tests that kill real brokers: docs/testing.md. They build the broker themselves, both ways.
CRASH = $(call bounded,3600) go test -count=1 -v -timeout 55m ./broker/crashtest

.PHONY: long
long: ## The long forms of the tests: outages of 20 and 45 s, thousands of crashes; about half an hour
	VARVE_LONG=1 $(call bounded,3600) go test -count=1 -timeout 58m ./broker ./broker/queue ./broker/timer ./broker/wal

.PHONY: crash crash-long order-long
crash: ## kill -9 a broker under load, KILLS (10) times in every mode
	VARVE_CRASH_KILLS=$(KILLS) $(CRASH) -run 'TestKill|TestStop|TestVisible|TestLinearizable'

crash-long: ## The same, 50 times in every mode
	@$(MAKE) --no-print-directory crash KILLS=50

order-long: ## 1,000,000 messages of 64 producers on one queue, read in order
	VARVE_CRASH_ORDER=1000000 $(CRASH) -run TestOrder

##@ Scale

.PHONY: scale
scale: ## Memory of 100,000 queues and 10,000 waiting pulls, start on a log of SCALE_WAL_MIB (2048); Linux
	VARVE_SCALE=1 VARVE_SCALE_WAL_MIB=$(SCALE_WAL_MIB) $(call bounded,1800) go test -count=1 -timeout 28m -v ./broker/scaletest/...
	VARVE_SCALE=1 $(call bounded,600) go test -count=1 -timeout 9m -v -run 'Scale' ./tiering/catalog

##@ Object stores

# A module of its own: with the linters in one module MinIO does not build. Cold it takes a minute or more.
S3_SERVERS = minio versitygw
S3_PACKAGES = github.com/minio/minio github.com/versity/versitygw/cmd/versitygw

.PHONY: s3-servers test-s3
s3-servers: $(S3_SERVERS:%=bin/%) ## Build the S3 servers of the tests into bin/

$(S3_SERVERS:%=bin/%) &: tools/s3/go.mod tools/s3/go.sum
	@mkdir -p bin
	cd tools/s3 && CGO_ENABLED=0 $(call bounded,1200) go build -trimpath -buildvcs=false -ldflags '-s -w' -o ../../bin/ $(S3_PACKAGES)
	@touch $(S3_SERVERS:%=bin/%)

test-s3: race-detector s3-servers ## The object store suite, both drivers against each S3 server
	@for server in $(S3_SERVERS); do \
	  echo "== $$server"; \
	  CGO_ENABLED=1 $(call bounded,600) tools/s3/with-s3.sh "$$server" -- \
	    go test -race -count=1 -timeout 9m -run 'TestContract|TestServer' ./tiering/objstore; \
	done

##@ Tiered storage

# Whole brokers on a real MinIO: docs/testing.md.
TIER = $(call bounded,7200) tools/s3/with-s3.sh minio -- go test -count=1 -v -timeout 110m
TIER_MIB ?= 2048
TIER_KILLS ?= 50
TIER_STEPS ?= 2000
OUTAGE ?= 600
BENCH_MIB ?= 1024

.PHONY: tier tier-long soak bench-tier
tier: s3-servers ## Disasters, kills, outages, damage, two owners: brokers on MinIO, in short
	$(TIER) ./broker/tiertest

tier-long: s3-servers ## The same with 2 GiB (TIER_MIB), 50 kills (TIER_KILLS), long random histories
	VARVE_TIER_MIB=$(TIER_MIB) VARVE_TIER_KILLS=$(TIER_KILLS) VARVE_TIER_MODEL_STEPS=$(TIER_STEPS) $(TIER) ./broker/tiertest

soak: s3-servers ## Object storage away for OUTAGE (600) seconds under load
	VARVE_TIER_OUTAGE=$(OUTAGE) $(TIER) -run TestStoreOutage ./broker/tiertest

bench-tier: s3-servers ## Sealing, replay beside a plain GET, sends beside a replay, requests per GB, memory (BENCH_MIB=1024)
	$(call bounded,900) go test -run '^$$' -bench Seal -benchtime 3x ./tiering/seal
	$(call bounded,1800) tools/s3/with-s3.sh minio -- go test -run '^$$' -bench Iterate -benchtime 1x -timeout 25m ./tiering/coldread
	VARVE_TIER_BENCH_MIB=$(BENCH_MIB) $(TIER) -run '^$$' -bench Tier -benchtime 1x ./broker/tiertest

##@ Housekeeping

.PHONY: check-deploy
check-deploy: build ## deploy/ by its own tools: promtool, systemd-analyze, docker compose, as far as they are here
	go test -count=1 -run TestDeploy ./broker
	@for tool in promtool systemd-analyze; do command -v $$tool >/dev/null || echo "make check-deploy: there is no $$tool: its part is left out" >&2; done
	@if command -v promtool >/dev/null; then \
	  promtool check rules deploy/alerts/varve.rules.yaml && promtool test rules deploy/alerts/varve.rules.test.yaml; fi
	@if command -v systemd-analyze >/dev/null; then unit=$$(mktemp -d); trap 'rm -rf "$$unit"' EXIT; \
	  sed 's#^ExecStart=/usr/local/bin/varve #ExecStart=$(CURDIR)/bin/varve #' deploy/systemd/varve.service >"$$unit/varve.service"; \
	  systemd-analyze verify "$$unit/varve.service"; fi
	@if docker compose version >/dev/null 2>&1; then \
	  MINIO_ROOT_PASSWORD=12345678 VARVE_S3_SECRET=12345678 docker compose -f deploy/compose.yaml config --quiet; \
	  else echo "make check-deploy: there is no docker compose: its part is left out" >&2; fi

.PHONY: generate
generate: ## Run go generate
	$(call bounded,300) go generate ./...

.PHONY: tidy generated
tidy: ## Check that go.mod and go.sum are as go mod tidy would leave them
	@go mod tidy -diff || { echo "make tidy: run go mod tidy" >&2; exit 1; }

generated: ## Check that generated files are as make generate would leave them
	@before=$$(git status --porcelain -- '*_gen.go' '*.pb.go' 2>/dev/null || true); \
	  $(MAKE) --no-print-directory -s generate; \
	  after=$$(git status --porcelain -- '*_gen.go' '*.pb.go' 2>/dev/null || true); \
	  test "$$before" = "$$after" || { echo "make generate changed files:" >&2; echo "$$after" >&2; exit 1; }

.PHONY: clean
clean: ## Remove what was built; data directories stay
	rm -rf bin conformance/java/target conformance/reference/target
	go clean -testcache
