# The two commands that matter: make demo, make test.
.PHONY: demo demo-cluster test lint race bench bench-large soak fuzz build crash cluster crossing lost faults sweep mutate vuln

# A test that fails fails its target too, whatever its output is piped through.
SHELL = bash
.SHELLFLAGS = -o pipefail -c

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.7.0
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.8.0

# The contract that KEEP=1 and the benchmark take.
CONTRACT = orleans-tours-gar/v1

# Play every contract between two simulated tools; KEEP=1 plays one and leaves
# all three programs running, for curl.
demo:
	@go run ./cmd/gateway demo $(if $(KEEP),--keep --contract $(CONTRACT) --listen 127.0.0.1:8080 --admin 127.0.0.1:8081 --requester 127.0.0.1:8090 --partner 127.0.0.1:8091)

# The same contract on three gateways and three NATS servers, of which one each is
# killed meanwhile.
demo-cluster:
	@go run ./cmd/cluster -contract $(CONTRACT)

# All tests, each package within its budget.
test:
	@go test -timeout 200s ./...

lint:
	@test -z "$$(gofmt -l . | tee /dev/stderr)"
	@go vet ./...
	@go run $(STATICCHECK) ./...

# Known vulnerabilities in what the program calls. Where the database cannot be
# reached nothing is looked up, which is no failure; a finding is one. VULNDB=URL
# asks another copy of the database (file:///… too).
vuln:
	@if said=$$(go run $(GOVULNCHECK) $(if $(VULNDB),-db $(VULNDB)) ./... 2>&1); then echo "$$said"; \
	elif why=$$(grep '^govulncheck: fetching vulnerabilities: ' <<<"$$said") && grep -qx 'exit status 1' <<<"$$said"; then \
		echo "vuln: nothing was looked up, the database cannot be reached ($${why#govulncheck: fetching vulnerabilities: })"; \
	else echo "$$said"; exit 1; fi

build:
	@go build -trimpath -o bin/gateway ./cmd/gateway

# All tests under the race detector (some minutes).
race:
	@go test -race -timeout 600s ./...

# Damages each row, cell, switch and template member of a contract in turn, and
# lists what no conversation, create or cell of the grid notices (about ten
# minutes).
mutate:
	@cd contracts && go test -run TestMutations -mutations all -mutated $(CONTRACT) -timeout 30m

# One table of goals and figures, in six minutes or so: what the gateway, a process
# of its own, accepts and delivers, as ratios to a server that does nothing and to the
# bare disk; its store; big messages; NATS beside bolt. ARGS="-dir DIR" measures the
# disk of a folder; ARGS=-h lists the sizes.
bench:
	@go build -o bin/bench ./cmd/bench && bin/bench -contract contracts/$(CONTRACT) $(ARGS)

# A gateway on a store with a million tickets at rest, beside one on an empty store:
# a quarter of an hour, and 14 GB in the system's temporary folder.
PAIRS = 1000000
bench-large:
	@go build -o bin/bench ./cmd/bench && bin/bench -contract contracts/$(CONTRACT) -large-store $(PAIRS) $(ARGS)

# Good and hostile traffic together, for ten minutes (a short one is part of make
# test): memory and goroutines stay flat, and nothing good is lost.
soak:
	@go test ./cmd/bench -run Soak -count=1 -timeout 60m -v -soak 10m | grep -v '^=== '

# The crash tests at full length (short ones are part of make test): the store
# alone, and the whole gateway between two tools, each killed a thousand times.
crash:
	@go test ./outbox -run Crash -count=1 -timeout 60m -args -kills 1000 -seed 0
	@go test ./internal/conversation -run KillTheWholeGateway -count=1 -timeout 60m -v -kills 1000 | grep -v "^=== "

# Both sides' agents act at the same time, at random, a thousand times over.
crossing:
	@go test ./internal/conversation -run R34 -count=1 -timeout 60m -seeds 1000

# The tools take effect and lose the answer, at random, some five thousand times:
# every issue, comment, entry and file must be there exactly once.
lost:
	@go test ./internal/conversation -run ExactlyOneEffect -count=1 -timeout 30m -v -lost 5000 | grep -v '^=== '

# What nobody told: plays with one webhook in twenty lost, and all of them for a
# while; plays on a restored backup; ten thousand tickets at rest.
sweep:
	@go test ./internal/conversation -run 'Sweep|RestoreSends|Overwritten|NeverHeard|MissedStatus' -count=1 -timeout 60m -parallel 4 -v -sweeps 200 -restores 100 -atrest 10000 | grep -v '^=== '

# Trouble of the disk: a database and its files that are damaged, cut short or
# missing; then the whole gateway while syncs and writes fail, the disk is full,
# the folder is locked or gone, each of ten ways a dozen times. strace makes the
# system calls fail; it is installed where it is missing (Debian).
faults:
	@command -v strace >/dev/null || { apt-get update -qq && apt-get install -y -qq strace; } >/dev/null
	@go test ./outbox -run 'Sync|Disk|File|Folder|Head|Ready|Truncated|Flipped|Fault|Missing|Refuses|Full' -count=1 -timeout 30m -args -flips 300
	@go test ./cmd/gateway -run TestScripts/damaged -count=1
	@go test ./internal/conversation -run DiskTrouble -count=1 -timeout 60m -v -faults 12 | grep -v '^=== '

# The suite of the stores on three servers, and the shared store under load, cut
# lines, lost answers and stopped servers; then three gateways on three NATS
# servers, and seven troubles ten times over.
cluster:
	@go test ./outbox -count=1 -timeout 30m -args -cluster 300 -cuts 24
	@go test ./internal/conversation -run 'TestCluster|StopWithoutServers' -count=1 -timeout 60m -v -cluster 10 | grep -v '^=== '

# Each fuzz target for half a minute.
fuzz:
	@for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime 30s $$pkg || exit 1; \
		done; \
	done
