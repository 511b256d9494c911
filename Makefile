# What there is to do here. Everything needs Go and nothing else, but for the
# race detector (a C compiler) and "make live" (a Zeek).

GO ?= go
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME ?= 30s
BENCHTIME ?= 1s

.PHONY: build test demo live fuzz bench lint

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/...

demo: build
	bin/zeekwire demo

test:
	$(GO) test -race -timeout 10m ./...
	$(GO) run ./cmd/zeekwire decode --check testdata/recordings/*/*.jsonl

# ZEEK is the prefix of an installed Zeek, or several with commas between.
live: build
	ZEEK=$(ZEEK) ZEEKWIRE=$(CURDIR)/bin/zeekwire $(GO) test -count=1 -v -p 1 -timeout 30m ./cmd/internal/live
	[ -z "$(ZEEK)" ] || ZEEK=$(ZEEK) $(GO) test -count=1 -p 1 -timeout 30m ./broker/security ./broker/logs ./zeekapi/agent/launch/zeek

lint:
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "not formatted: $$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

# Every fuzz target in turn, FUZZTIME each.
fuzz:
	@for package in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
	    echo "$$package $$target"; \
	    $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package || exit 1; \
	  done; \
	done

# In the format that benchstat reads.
bench:
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./...
