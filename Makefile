# The front door of the house: `make` alone lists what there is.
#
# Works as root on a new Debian machine (missing system packages are installed) and as an ordinary user (missing ones are
# named, nothing is touched).  Everything Python lives in .venv, made from the two pinned requirements files.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-more test-clocks test-long test-guide check lab simulate test-compiled compiler bench image test-image kubernetes kubernetes-tools test-monitoring promtool test-page pictures browser test-kubernetes test-kubernetes-all test-kubernetes-versions base lock system

# Agents start by the hundred in the tests: what they are made of is compiled once.
unexport PYTHONDONTWRITEBYTECODE

# An ordinary user's PATH often lacks the directories of nft and ip.
export PATH := $(PATH):/usr/sbin:/sbin

# The first of these that runs, is new enough and can make a virtual environment is taken.  Debian's own comes first: one
# on root's PATH may be out of reach of the users that root starts tests as.
PYTHON := /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11
# What is handed on: `make test ARGS='-k health'`.
ARGS :=
# What builds the image, and the image's name; it is tested as podman has it.
ENGINE := podman
IMAGE := localhost/floatingip

# Tests run beside each other in this many processes, each in a sandbox of its own.  They wait more than they compute; but
# many are about time, and with more of them than this two cores would not have it for them.  One more, which gives way to
# these, only computes meanwhile (tests/dealing.py).
WORKERS := 3
SANDBOX := .venv/bin/python -m lab.sandbox
END_WITH_SHELL := setpriv --pdeathsig TERM
# What a target's tests write, and how they ended, is its own: some run beside each other (.ci/run).
WRITE = --basetemp=.pytest_tmp/$@ -o cache_dir=.pytest_cache/$@
# $(call tests,PYTEST'S ARGUMENTS,THE SANDBOX'S): what fails beside others is tried again alone, which is told, and has to
# pass then: a machine that was busy with something else is no fault of the code.  Whoever ends make by SIGTERM ends this
# shell, and setpriv what the shell has started; what a lane leaves then is in .pytest_tmp.
define tests
tests() {
	local code=0 python="$(SANDBOX) $(2) .venv/bin/python"
	local arguments=($(WRITE) $(1))
	local -x TMPDIR="$$PWD/.pytest_tmp/$@"
	mkdir -p "$$TMPDIR"
	$(END_WITH_SHELL) .venv/bin/python -m pytest -p tests.lanes --dist loadfile --tx "$(WORKERS)*popen//python=$$python" \
		$(if $(BESIDE),--tx "popen//python=$(BESIDE) $$python") "$${arguments[@]}" || code=$$?
	# pytest's 1: tests have failed.
	(( code == 1 )) || return "$$code"
	echo "Trying again, one after the other, what has failed." >&2
	$(END_WITH_SHELL) $$python -m pytest "$${arguments[@]}" --basetemp=.pytest_tmp/$@/again --dist no --last-failed
}
tests
endef

# What the lab starts, and the package that has it; the guide, which some tests walk, needs one more, and so does the bench.
TOOLS := nft:nftables envsubst:gettext-base ip:iproute2 unshare:util-linux
test test-guide: TOOLS += jq:jq
bench: TOOLS += keepalived:keepalived
# What starts the lane that gives way.
test: BESIDE := nice -n 10

# Who can install packages: root, where there is apt-get.
MAY_INSTALL := (( ! EUID )) && command -v apt-get >/dev/null

# `install WHAT PACKAGE...`: by who can; anybody else is told that this WHAT is missing.
define install
install() {
	if ! { $(MAY_INSTALL); }; then
		echo "missing$$1: install $${*:2} (as root: apt-get install $${*:2})" >&2
		return 1
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get -qq update
	apt-get -qq install --yes --no-install-recommends "$${@:2}" >/dev/null
}
install
endef

SOURCES := floatingip lab bench tests find-available-ips.py
STAMP := .venv/.installed

help: ## List these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 26

demo: system $(STAMP) ## Watch a failover: two workers, one floating IP, a power cut
	@.venv/bin/python -m lab demo $(ARGS)

test: system $(STAMP) ## Run all tests (ARGS='-k health' for some)
	@echo "All tests, $(WORKERS) at a time, and one that gives way to these: six minutes or so on two cores. Ctrl-C ends all of them, and leaves nothing."
	$(call tests,$(ARGS))

test-more: system $(STAMP) ## Run what `make test` leaves out, but no change may break: more scenarios, by either way
	@echo "More scenarios, $(WORKERS) at a time: seven minutes or so on two cores."
	$(call tests,-m more $(ARGS) tests/lab tests/kubernetes)

test-fast: $(STAMP) ## Run those without a kernel or a clock, in half a minute
	@mkdir -p .pytest_tmp
	.venv/bin/python -m pytest $(WRITE) -q -n 2 $(ARGS) tests/core tests/contract

test-clocks: system $(STAMP) ## Test what reads clocks on a machine that has just booted, and on one that is ten years old
	@for uptime in 5 300000000; do
		$(call tests,-q tests/edges tests/contract \
			"tests/lab/test_scenarios.py::test_scenario_is_survived_with_an_address_of_each_kind[power-cut-address]",--uptime $$uptime)
	done

test-long: system $(STAMP) ## Run all other scenarios, both ways to carry
	@echo "All other scenarios, $(WORKERS) at a time, and then those that need the machine for themselves: hours."
	code=0
	# The longest come first, and are given out one at a time, so that the last one does not keep the others waiting.
	($(call tests,--dist load --maxschedchunk 1 --timeout 7200 -m 'long and not alone' $(ARGS) tests/lab/test_scenarios.py tests/lab/test_torture.py \
		tests/lab/test_asking.py tests/lab/test_planted.py)) || code=$$?
	# pytest's 5: there is none such.
	$(END_WITH_SHELL) $(SANDBOX) .venv/bin/python -m pytest $(WRITE) --timeout 7200 -m 'long and alone' $(ARGS) tests/lab/test_scenarios.py \
		|| (( $$? == 5 )) || code=1
	exit "$$code"

test-guide: system $(STAMP) ## Walk docs/install.md with the real AWS CLI and the real kubectl, as far as they are there
	@$(call tests,--dist load --maxschedchunk 1 -m long $(ARGS) tests/guide)

test-monitoring: $(STAMP) promtool ## Test metrics, alerts and dashboard by promtool, which Debian's archive has
	@mkdir -p .pytest_tmp
	.venv/bin/python -m pytest $(WRITE) $(ARGS) tests/packaging/test_monitoring.py tests/sim/test_alerts.py

# Of Debian's package, 100 MB with a server, this one program is taken; nothing is installed, and no service starts.
promtool:
	@! PATH="$$PWD/.promtool:$$PATH" command -v promtool >/dev/null || exit 0
	if ! command -v apt-get >/dev/null; then
		echo "promtool is missing: install Prometheus" >&2
		exit 1
	fi
	(( EUID )) || apt-get -qq update
	mkdir -p .promtool
	trap 'rm -f .promtool/*.deb' EXIT
	(cd .promtool && apt-get -qq -o APT::Sandbox::User=root download prometheus)
	dpkg-deb --fsys-tarfile .promtool/*.deb | tar --extract --strip-components 3 --directory .promtool ./usr/bin/promtool

# axe-core, which judges pages, and its one file's SHA-256.
AXE := 4.14.1
AXE_IS := 29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c

test-page: system $(STAMP) browser ## Test the observer's page in Chromium, in a failover of the lab
	@mkdir -p .pytest_tmp
	$(SANDBOX) .venv/bin/python -m pytest $(WRITE) $(ARGS) tests/lab/test_chromium.py

pictures: NEEDED += pngquant
pictures: system $(STAMP) browser ## Take the pictures of docs/status.md anew
	@.venv/bin/python -m lab.pages.screenshots docs/page
	pngquant --force --ext .png 32 docs/page/*.png

NEEDED := chromium
browser:
	@missing=() axe=no
	for program in $(NEEDED); do
		command -v "$$program" >/dev/null || missing+=("$$program")
	done
	if ! sha256sum --check --status <<<"$(AXE_IS)  .axe/axe.min.js" 2>/dev/null; then
		axe=yes
		command -v npm >/dev/null || missing+=(npm)
	fi
	if (( $${#missing[@]} )); then
		$(install) "" "$${missing[@]}"
	fi
	[[ "$$axe" == yes ]] || exit 0
	mkdir -p .axe
	trap 'rm -f .axe/*.tgz' EXIT
	npm pack --silent --pack-destination .axe axe-core@$(AXE) >/dev/null
	tar --extract --strip-components 1 --directory .axe --file .axe/axe-core-$(AXE).tgz package/axe.min.js
	sha256sum --check --quiet <<<"$(AXE_IS)  .axe/axe.min.js"

check: $(STAMP) ## Lint, formatting and types; the Dockerfile, scripts and workflows
	@.venv/bin/ruff check $(SOURCES)
	.venv/bin/ruff format --check $(SOURCES)
	.venv/bin/mypy $(SOURCES)
	# DL3008: Debian's archive forgets all but the newest version of a package.
	# DL3067: one layer from a whole file system is the point: what was removed is in no layer below.
	.venv/bin/hadolint --ignore DL3008 --ignore DL3067 Dockerfile
	.venv/bin/shellcheck --severity=warning .ci/*
	.venv/bin/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml

image: ## Build the image (ENGINE=docker, ARGS='--build-arg BASE=...')
	@$(ENGINE) build --tag $(IMAGE) $(ARGS) \
		--build-arg VERSION="$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' floatingip/__init__.py)" \
		--build-arg REVISION="$$(git describe --always --dirty --abbrev=40 --exclude='*')" \
		--build-arg CREATED="$$(git log -1 --format=%cI)" .

test-image: system $(STAMP) ## Test the image, as root: what is in it, and that its pods survive a power cut
	@mkdir -p .pytest_tmp
	.venv/bin/python -m lab.kubernetes.small.image $(IMAGE) .venv/bin/python -m pytest $(WRITE) $(ARGS) tests/packaging/test_image.py

kubernetes: kubernetes-tools ## Build the real Kubernetes by Go (or name what is built: KUBERNETES_BINARIES=DIR)
	@if [[ -z "$${KUBERNETES_BINARIES:-}" ]]; then .venv/bin/python -m lab.kubernetes.build; fi

kubernetes-tools: $(STAMP)
	@packages=$$(.venv/bin/python -m lab.kubernetes.real.host)
	# Who cannot install them is told by what needs them.
	if [[ -n "$$packages" ]] && $(MAY_INSTALL); then
		$(install) "" $$packages
	fi

test-kubernetes: system kubernetes ## Test on the real Kubernetes, as root: what tells most (needs the image)
	@$(MAKE) --no-print-directory test-kubernetes-all ARGS="-m 'most or not scenario' $(ARGS)"

test-kubernetes-all: SANDBOX := .venv/bin/python -m lab.kubernetes.real.host
# A cluster takes half a core, and while it starts a whole one.
test-kubernetes-all: WORKERS := 2
test-kubernetes-all: system kubernetes ## Test on the real Kubernetes all that it has a part in
	@# What is missing is told in one line, and the image is there for all lanes.
	$(SANDBOX) true
	mkdir -p .pytest_tmp
	code=0 log=$$(mktemp)
	# Beside these run labs that are ended, by Ctrl-C too: what a shell starts beside something else would ignore that.
	$(END_WITH_SHELL) env --default-signal=INT .venv/bin/python -m pytest -o cache_dir=.pytest_cache/host \
		--basetemp=.pytest_tmp/host tests/kubernetes/test_host.py &>"$$log" & host=$$!
	($(call tests,$(ARGS) tests/kubernetes)) || code=$$?
	wait "$$host" || code=$$?
	cat "$$log"
	rm "$$log"
	exit "$$code"

test-kubernetes-versions: system kubernetes ## Show the manifests to the API servers of all versions that EKS supports
	@if [[ -z "$${KUBERNETES_BINARIES:-}" ]]; then .venv/bin/python -m lab.kubernetes.build versions; fi
	mkdir -p .pytest_tmp
	.venv/bin/python -m lab.sandbox .venv/bin/python -m pytest $(WRITE) $(ARGS) \
		tests/kubernetes/test_versions.py

lab: system $(STAMP) ## List the scenarios; run one with .venv/bin/python -m lab run NAME
	@.venv/bin/python -m lab list

# How many seeds: two cores play some forty thousand in ten minutes.
SEEDS := 0..9999

simulate: compiler ## Play 10,000 histories of whole agents, compiled (SEEDS=0..999999 for more, ARGS=--nemesis)
	@.venv/bin/python -m tests.sim --compiled --seeds $(SEEDS) $(ARGS)

test-compiled: compiler ## Show that compiled histories are the same, and play 5,000 of them, and 90 with misfortunes: four minutes of CPU
	@mkdir -p .pytest_tmp
	.venv/bin/python -m pytest $(WRITE) -q -m more $(ARGS) tests/sim/test_compiled.py
	.venv/bin/python -m tests.sim --compiled --seeds 0..4999
	.venv/bin/python -m tests.sim --compiled --seeds 32..121 --nemesis

compiler: $(STAMP)
	@packages=$$(.venv/bin/python -c 'from tests.sim import compiled; print(compiled.missing())')
	[[ -n "$$packages" ]] || exit 0
	$(install) " to compile the simulation" $$packages

bench: system $(STAMP) ## Measure failover and cost, with keepalived beside (ARGS=--quick for a short run)
	@.venv/bin/python -m bench $(ARGS)

base: ## Pin the image's base anew, by the digest that its tag has today (asks the registry, by docker)
	@tag=$$(sed -n 's/^ARG BASE=\([^@]*\).*/\1/p' Dockerfile)
	digest=$$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$$tag")
	[[ "$$digest" =~ ^sha256:[0-9a-f]{64}$$ ]]
	sed -i "s|^ARG BASE=.*|ARG BASE=$$tag@$$digest|" Dockerfile

lock: ## Pin the requirements anew, from requirements*.in
	@tools=$$(mktemp -d)
	trap 'rm -rf "$$tools"' EXIT
	.venv/bin/python -m venv "$$tools"
	"$$tools/bin/pip" install --quiet pip-tools
	for name in requirements requirements-dev requirements-audit; do
		"$$tools/bin/pip-compile" --quiet --upgrade --generate-hashes --strip-extras --allow-unsafe --no-header \
			--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --output-file "$$name.txt" "$$name.in"
	done

system:
	@missing=()
	for tool in $(TOOLS); do
		command -v "$${tool%:*}" >/dev/null || missing+=("$${tool#*:}")
	done
	(( $${#missing[@]} )) || exit 0
	$(install) " system packages" "$${missing[@]}"

.venv: $(STAMP)

$(STAMP): requirements.txt requirements-dev.txt
	@choose() {
		local python
		for python in $(PYTHON); do
			if "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11) or not ensurepip.version())' 2>/dev/null; then
				echo "$$python"
				return
			fi
		done
		return 1
	}
	if ! .venv/bin/python -m pip --version &>/dev/null; then
		if ! choose >/dev/null && $(MAY_INSTALL); then
			$(install) "" python3 python3-venv
		fi
		if ! python=$$(choose); then
			echo "no Python 3.11 or newer that can make a virtual environment: install python3-venv, or set PYTHON=" >&2
			exit 1
		fi
		"$$python" -m venv --clear .venv
	fi
	.venv/bin/python -m pip install -qq --require-hashes -r requirements.txt -r requirements-dev.txt
	touch $@
