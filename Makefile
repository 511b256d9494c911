# What there is to do here. Everything needs Go and nothing else, but for the
# race detector (a C compiler) and "make live" (a Zeek).

GO ?= go
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME ?= 10s
BENCHTIME ?= 1s
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.9.0
ACTIONLINT = github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
PLATFORMS = linux/arm64 darwin/amd64 darwin/arm64

# VERSION is for releases; without, the Go command finds one out.
VERSION ?=
LDFLAGS = -X github.com/zeekwire/zeekwire/cmd/internal/version.release=$(VERSION)

.PHONY: build cross demo man test long live load record lint lint-actions vuln fuzz bench

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS)" -o bin/ ./cmd/zeekwire ./cmd/zeek-client

# Compile everything, tests included, for other systems than this one.
cross:
	@set -e; for platform in $(PLATFORMS); do \
	  echo "$$platform"; \
	  export CGO_ENABLED=0 GOOS=$${platform%/*} GOARCH=$${platform#*/}; \
	  $(GO) build ./...; $(GO) vet ./...; \
	done

demo: build
	bin/zeekwire demo

# Manual pages, for man -l bin/man/zeekwire.1.
man: build
	bin/zeekwire man --dir bin/man
	bin/zeek-client man --dir bin/man

# What has one goroutine and many repetitions runs for longer without the race
# detector, which makes it slow and has nothing to find there.
test:
	@set -- $$($(GO) env CC); command -v "$$1" >/dev/null || { echo "the race detector needs a C compiler, here $$1"; exit 1; }
	$(GO) test -race -timeout 10m ./...
	CGO_ENABLED=0 $(GO) test -trimpath -run '^Test(Simulation|StoreDamaged)$$' ./zeekapi/controller
	$(GO) run ./cmd/zeekwire decode --check testdata/recordings/*/*.jsonl

# The controller's simulations with 31 000 seeds, 1000 times killed, and 20 000
# times with a damaged file: some minutes.
long:
	$(GO) test -count=1 -v -timeout 2h -run '^Test(Simulation|Killed|StoreDamaged)$$' ./zeekapi/controller -long

# The tests beside real Zeeks, and a table of their results. ZEEK is the prefix
# of an installed Zeek, ZEEK_IMAGE a container image with one; either may be
# several with commas between. CONTAINER_ENGINE and CONTAINER_FLAGS say how to
# run containers, ZEEK_CLUSTER_SCRIPTS is explained in testdata/README.md.
export ZEEK ZEEK_IMAGE CONTAINER_ENGINE CONTAINER_FLAGS ZEEK_CLUSTER_SCRIPTS
LIVERUN ?= .
LIVETEST = $(GO) test -json -count=1 -timeout 6h
live: build
	@{ ZEEKWIRE=$(CURDIR)/bin/zeekwire $(LIVETEST) -run '$(LIVERUN)' -skip '^TestRecord$$' ./cmd/internal/live; \
	  [ -z "$$ZEEK" ] || $(LIVETEST) -run '^TestZeeksOptionsInItsScripts$$' ./cmd/zeekwire; \
	} | $(GO) run ./cmd/internal/live/report

# A controller with up to a thousand agents, in processes of their own: a table
# of what it takes.
LOAD = 10,100,1000
load: build
	ZEEKWIRE=$(CURDIR)/bin/zeekwire $(GO) test -count=1 -v -run '^TestLoad$$' ./cmd/internal/load -load.agents $(LOAD) -load.times

# Refreshes testdata/recordings/zeek-VERSION for each Zeek, and says what has
# changed since the version before.
record: build
	RECORD=$(CURDIR)/testdata/recordings ZEEKWIRE=$(CURDIR)/bin/zeekwire $(GO) test -count=1 -v -run '^TestRecord$$' ./cmd/internal/live

lint:
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "not formatted: $$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

# Check the workflow files.
lint-actions:
	$(GO) run $(ACTIONLINT)

# Look for known vulnerabilities in the code that the programs reach.
vuln:
	$(GO) run $(GOVULNCHECK) ./...

# Run every fuzz target for FUZZTIME, one after the other.
fuzz:
	GO=$(GO) FUZZTIME=$(FUZZTIME) .ci/fuzz

# In the format that benchstat reads.
bench:
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./...
