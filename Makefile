# What there is to do here. Everything needs Go and nothing else, but for the
# race detector (a C compiler) and "make live" (a Zeek).

GO ?= go
GOLANGCI_LINT = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.9.0
ACTIONLINT = github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
APIDIFF = golang.org/x/exp/cmd/apidiff@v0.0.0-20261113113407-e3970619a1a4
GOTESTSUM = gotest.tools/gotestsum@v1.13.0
FUZZTIME ?= 10s
PLATFORMS = linux/arm64 darwin/amd64 darwin/arm64

# VERSION is for releases; without, the Go command finds one out.
VERSION ?=
LDFLAGS = -X github.com/zeekwire/zeekwire/cmd/internal/version.release=$(VERSION)

.PHONY: build cross demo docs man test long live live-table load load-zeek load-http load-gateway hostile faults failover failover-figures corpus record dist dist-check release-check packages images kubecheck apidiff lint vulncheck fuzz bench bench-compare axe screenshots console-figures

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

# Generate the reference in docs/reference.
docs:
	$(GO) test -count=1 -run '^TestReference$$' ./cmd/zeekwire -update

# Manual pages, for man -l bin/man/zeekwire.1.
man: build
	bin/zeekwire man --dir bin/man
	bin/zeek-client man --dir bin/man

# The summary at the end lists failures, and what was skipped and why.
#
# What has one goroutine and many repetitions runs for longer without the race
# detector, which makes it slow and has nothing to find there. The tests of the HTTP
# API run again, with the validator of OpenAPI, which takes minutes to compile with it.
test:
	@set -- $$($(GO) env CC); command -v "$$1" >/dev/null || { echo "the race detector needs a C compiler, here $$1"; exit 1; }
	$(GO) run $(GOTESTSUM) --format pkgname -- -race -timeout 20m ./...
	CGO_ENABLED=0 $(GO) test -trimpath -run '^Test(Simulation|StoreDetectsDamage)$$' ./zeekapi/controller
	CGO_ENABLED=0 $(GO) test -trimpath ./zeekapi/httpapi
	$(GO) run ./cmd/zeekwire decode --check testdata/recordings/*/*.jsonl

# The controller's simulations with 31 000 seeds, 1000 times killed, and 20 000
# times with a damaged file: some minutes.
long:
	$(GO) test -count=1 -v -timeout 2h -run '^Test(Simulation|StateSurvivesKill|StoreDetectsDamage)$$' ./zeekapi/controller -long

# The tests beside real Zeeks, and a table of their results. ZEEK is the prefix
# of an installed Zeek, ZEEK_IMAGE a container image with one; either may be
# several with commas between. CONTAINER_ENGINE and CONTAINER_FLAGS say how to
# run containers, ZEEK_CLUSTER_SCRIPTS is explained in testdata/README.md.
export ZEEK ZEEK_IMAGE CONTAINER_ENGINE CONTAINER_FLAGS ZEEK_CLUSTER_SCRIPTS
LIVERUN ?= .
LIVEJSON ?= bin/live.json
LIVETEST = $(GO) test -json -count=1 -timeout 6h
live: build
	@{ ZEEKWIRE=$(CURDIR)/bin/zeekwire $(LIVETEST) -run '$(LIVERUN)' -skip '^TestRecord$$' ./cmd/internal/live; \
	  [ -z "$$ZEEK" ] || $(LIVETEST) -run '^TestZeekOptionsAreComplete$$' ./cmd/zeekwire; \
	} | tee $(LIVEJSON) | $(GO) run ./cmd/internal/live/report

# The table of results in testdata/live.md, from the output of one or more runs, and
# its summary in docs/supported-zeek.md.
live-table:
	$(GO) run ./cmd/internal/live/report -write testdata/live.md -supported docs/supported-zeek.md $(LIVEJSON)

# A controller with up to a thousand agents, in processes of their own: a table
# of what it takes.
LOAD = 10,100,1000
LOADTLS = off anonymous
LOADETCD = false true
load: build
	for tls in $(LOADTLS); do for etcd in $(LOADETCD); do \
		ZEEKWIRE=$(CURDIR)/bin/zeekwire $(GO) test -count=1 -v -timeout 2h -run '^TestLoad$$' ./cmd/internal/load \
			-load.agents $(LOAD) -load.tls $$tls -load.etcd=$$etcd -load.times || exit 1; \
	done; done

# The controllers of Zeek and ours in turn, with the same agents. ZEEK is the prefix of an
# installed Zeek.
load-zeek: build
	ZEEKWIRE=$(CURDIR)/bin/zeekwire $(GO) test -count=1 -v -timeout 1h -run '^TestBesideZeek$$' ./cmd/internal/load \
		-load.agents 10,50,100 -load.zeek $(ZEEK)

# How much longer deployments take under load of the HTTP API.
load-http: build
	ZEEKWIRE=$(CURDIR)/bin/zeekwire $(GO) test -count=1 -v -run '^TestHTTP$$' ./cmd/internal/load -load.times \
		-load.http.agents 1000 -load.http.streams 200 -load.http.rate 500

# Readers of a gateway, and messages per second.
READERS = 5000
RATE = 2000
load-gateway:
	$(GO) test -count=1 -v -timeout 30m -run '^TestLoad$$' ./broker/gateway -readers $(READERS) -rate $(RATE)
	$(GO) test -count=1 -v -timeout 30m -run '^TestLoad$$' ./broker/gateway -readers $(READERS) -rate $(RATE) -one-in 100
	$(GO) test -count=1 -v -timeout 30m -run '^TestLoad$$' ./broker/gateway -readers $(READERS) -rate $(RATE) -one-in 100 -kind websocket

# Attacks on controllers, agents and clients under a memory limit, with a table of
# the results. HOSTILE is a regular expression of the rows to run.
HOSTILE ?= .
hostile: build
	ZEEKWIRE=$(CURDIR)/bin/zeekwire $(GO) test -count=1 -v -timeout 2h ./cmd/internal/hostile -hostile.full -hostile.rows '$(HOSTILE)'

# Controller and agent on file systems that are full, read-only, removed or
# replaced, and without descriptors, and everything else that tests faults: a
# table of the changes that were acknowledged, and of those that were lost. It
# needs a mount namespace, as root or in a user namespace.
faults: build
	ZEEKWIRE=$(CURDIR)/bin/zeekwire $(GO) test -count=1 -v -timeout 30m ./cmd/internal/faults -faults.others

# Three controllers on three members of etcd, with twenty agents and clients that deploy
# without pause, while controllers, members and connections fail. Round n has the seed
# SEED + n, so that a failed one can be repeated: make failover SEED=17 ROUNDS=1.
SEED ?= 1
ROUNDS ?= 200
failover: build
	ZEEKWIRE=$(CURDIR)/bin/zeekwire $(GO) test -count=1 -v -timeout 6h -artifacts -run '^TestFailover$$' ./cmd/internal/failover -failover.agents 20 -failover.seed $(SEED) -failover.rounds $(ROUNDS)

# Measure the deployments of one client with a file and with etcd, and the take-over of
# many agents by the next of three controllers.
FIGURES ?= 1000
failover-figures: build
	ZEEKWIRE=$(CURDIR)/bin/zeekwire $(GO) test -count=1 -v -timeout 30m -run '^TestFigures$$' ./cmd/internal/failover -failover.figures $(FIGURES)

# Import every configuration in the tests of ZeekControl and of Zeek's generator for
# systemd, and compare the nodes with theirs. ZEEK_SOURCE and ZEEKCTL_SOURCE are the
# directories of their sources. It needs a C++ compiler and Python 3.
export ZEEK_SOURCE ZEEKCTL_SOURCE
corpus:
	@[ -n "$$ZEEK_SOURCE" ] && [ -n "$$ZEEKCTL_SOURCE" ] || { echo "make corpus ZEEK_SOURCE=DIR ZEEKCTL_SOURCE=DIR"; exit 1; }
	$(GO) test -count=1 -timeout 30m -run '^TestCorpus$$' ./cmd/internal/importer -corpus.write $(CURDIR)/testdata/corpus.md

# Refreshes testdata/recordings/zeek-VERSION for each Zeek, and says what has
# changed since the version before.
record: build
	RECORD=$(CURDIR)/testdata/recordings ZEEKWIRE=$(CURDIR)/bin/zeekwire $(GO) test -count=1 -v -run '^TestRecord$$' ./cmd/internal/live

# Make the files of a release: packages for Debian and Red Hat, archives, bills of
# materials and checksums. The same commit and VERSION give the same bytes.
dist:
	$(GO) run ./cmd/internal/dist -version '$(VERSION)'

# Make a release twice and compare; check the packages with lintian and rpmlint;
# and install, upgrade and remove them in a container with systemd and a cluster. It
# needs root; SUDO=sudo becomes root.
dist-check:
	$(if $(SUDO),$(SUDO) env "PATH=$$PATH") $(GO) test -count=1 -v -timeout 60m ./cmd/internal/dist -dist $(if $(DISTSKIP),-skip '$(DISTSKIP)')

# Check that the documents of the release VERSION are complete.
release-check:
	@VERSION='$(VERSION)' .ci/release-check

# Install what the tests need beside Go, from Debian's packages.
packages:
	.ci/packages

# Build images of the controller and of the agent. ZEEK_IMAGE is the base image of
# the latter.
images: build
	$(or $(CONTAINER_ENGINE),podman) build -t zeekwire-controller -f cmd/zeekwire/container/controller.Containerfile .
	$(or $(CONTAINER_ENGINE),podman) build -t zeekwire-agent $(if $(ZEEK_IMAGE),--build-arg ZEEK_IMAGE=$(ZEEK_IMAGE)) -f cmd/zeekwire/container/agent.Containerfile .

# Decode the example for Kubernetes with the types of Kubernetes.
kubecheck:
	cd cmd/internal/kubecheck && $(GO) run . ../../zeekwire/container/kubernetes.yaml

# Compare the API of the Go packages with the earlier one. UPDATE=1 writes the list of
# intended changes.
apidiff:
	@GO='$(GO)' APIDIFF=$(APIDIFF) .ci/apidiff $(if $(UPDATE),update)

# Run the linters of .golangci.yml, check the workflow files, and look for known
# vulnerabilities.
lint: vulncheck
	$(GO) run $(GOLANGCI_LINT) run
	$(GO) run $(ACTIONLINT)

# Look for known vulnerabilities in the code that the programs reach. The database
# is on the network. If it cannot be reached, the target prints that nothing was
# checked, and fails only with VULNDB=required.
VULNDB ?= optional
vulncheck:
	@output=$$($(GO) run $(GOVULNCHECK) ./... 2>&1) && { echo "$$output"; exit 0; }; \
	echo "$$output"; \
	case "$$output" in *"fetching vulnerabilities"*) ;; *) exit 1;; esac; \
	echo "NOT CHECKED FOR VULNERABILITIES: their database cannot be reached"; \
	[ "$(VULNDB)" != required ]

# The accessibility checker that judges the console in the tests in a browser. It is only
# data of these tests.
AXE_CORE = axe-core@4.14.1
bin/axe/package/axe.min.js:
	mkdir -p bin/axe && cd bin/axe && npm pack --silent $(AXE_CORE) && tar -xzf axe-core-*.tgz
axe: bin/axe/package/axe.min.js

# A screenshot of each screen of the console in bin/screenshots: wide and narrow, light
# and dark. It needs a Chromium.
screenshots:
	mkdir -p bin/screenshots
	$(GO) test -count=1 -run '^TestScreenshots$$' ./cmd/internal/console -screenshots $(CURDIR)/bin/screenshots

# The time to the first paint of the overview with 100 machines, and the size of the page
# with its files.
console-figures:
	$(GO) test -count=1 -v -run '^TestBrowserFirstPaint$$' ./cmd/internal/console

# Run every fuzz target for FUZZTIME, one after the other.
fuzz:
	GO=$(GO) FUZZTIME=$(FUZZTIME) .ci/fuzz

# Benchmarks, in the format of benchstat. "make -s bench >FILE" with the FILE
# testdata/bench/baseline.txt records the baseline.
#
# bench-compare compares the working tree with the commit BASE, or without one
# with the baseline. BENCH, BENCHTIME and COUNT are explained in .ci/bench. With
# BROKER=DIR it compares with Broker's tools in that directory instead, see
# .ci/bench-broker.
export GO BENCH BENCHTIME COUNT
export BENCHSTAT = golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da
bench:
	@.ci/bench

bench-compare:
	@$(if $(BROKER),.ci/bench-broker $(BROKER),.ci/bench compare $(BASE))
