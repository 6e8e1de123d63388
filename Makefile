# What a developer does here, and what CI does. Every target builds what it needs first: a virtual environment in
# .venv, the compiled modules, an editable install; and builds again only what has changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= $(shell nproc 2>/dev/null || echo 1)
STUBBED = $(subst /,.,$(basename $(shell find sipfast -name '*.pyi')))
SOURCES := $(shell find sipfast -name '*.pyx' -o -name '*.pxd')

# Arguments of one's own: make run ARGS="--domain example.test", make test ARGS="-k redial"
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help build run test crash month lint flood fuzz map sipp-load bench bench-modules bench-gate dist clean
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: $(VENV)/.built ## virtual environment, compiled modules, editable install

run: build ## start the server on UDP 5060, and say what to do with it (ARGS="..." for sipfast serve)
	@$(BIN)/sipfast serve --hints $(ARGS)

test: build $(VENV)/.phones ## all tests; installs the SIP programs that they talk to, where it may
	ci/install-peers.sh
	$(if $(ARGS),$(BIN)/python -m pytest $(ARGS),ci/run-tests.sh $(BIN)/python)

crash: build ## kill the server for five minutes, and see that nothing is lost or done twice (ARGS="--seconds 60 --seed 1")
	cd tests && PYTHONPATH=.. ../$(BIN)/python -m crash $(ARGS)

month: build ## months of random life around a server: five minutes (ARGS="--seconds 60 --seed 1 --workers 3")
	cd tests && PYTHONPATH=.:.. ../$(BIN)/python -m month $(ARGS)

lint: build ## ruff, cython-lint, mypy, and whether the stubs tell what the compiled modules have
	$(BIN)/ruff check $(wildcard sipfast tests benchmarks ci setup.py)
	PATH="$(CURDIR)/$(BIN):$$PATH" cython-lint $(shell find sipfast benchmarks -name '*.pyx' -o -name '*.pxd')
	$(BIN)/mypy
	$(BIN)/stubtest $(STUBBED) --concise --mypy-config-file pyproject.toml --ignore-missing-stub --ignore-disjoint-bases \
		--allowlist ci/stubtest.allowed

map: ## draw docs/map.svg: the rooms of the code, and what imports what
	$(PYTHON) -m ci.draw_map

fuzz: build ## sequences of messages against whole engines, a minute (ARGS="--seconds 3600"); SANITIZE=1: under ASan and UBSan
	$(if $(SANITIZE),ci/sanitized.sh,PYTHONHASHSEED=0 PYTHONPATH=tests:.) $(BIN)/python -m fuzz --corpus $(CURDIR)/tests/data/fuzz $(ARGS)

flood: build ## floods of 150,000 datagrams a second beside two phones: are these served? nine minutes (ARGS="invite --rounds 40")
	$(BIN)/python -m benchmarks.flood $(ARGS)

sipp-load: build ## SIPp's phones at a server of their own, or at yours (ARGS="call --rate 500 --calls 10000"); docs/load-testing.md
	$(BIN)/python -m benchmarks.sipp $(ARGS)

bench: build ## side by side with Kamailio, twelve minutes, QUICK=1: five; AGAINST=<checkout or git revision>: in turns with that
	$(BIN)/python -m benchmarks$(if $(AGAINST),.against "$(AGAINST)") $(if $(QUICK),--quick) $(ARGS)

bench-modules: build ## the benchmarks of the modules and of the whole path, without a network
	$(BIN)/python -m pytest benchmarks --benchmark-only $(ARGS)

bench-gate: build ## whether anything became slower than in benchmarks/results/gate.json: about a minute
	$(BIN)/python ci/bench_gate.py $(ARGS)

dist: build ## sdist and wheel in dist/
	$(BIN)/python -m build

clean: ## remove everything that was built, .venv included
	rm -rf $(VENV) build dist *.egg-info $(shell find sipfast -name '*.so') benchmarks/*/*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The tools. An old pip does not know dependency groups.
$(VENV)/.tools: pyproject.toml ci/check-python.sh
	ci/check-python.sh $(PYTHON)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

# Softphones, and SIPVicious, from PyPI, for tests only. Where there is no wheel of them, their tests say that they are skipped.
$(VENV)/.phones: pyproject.toml $(VENV)/.tools
	@$(BIN)/python -m pip install --quiet --only-binary :all: --group phones || \
	    echo "the softphones of PyPI cannot be installed here; tests with them will be skipped" >&2
	@touch $@

# The editable install compiles all modules; later changes are compiled in place, one by one.
$(VENV)/.installed: $(VENV)/.tools setup.py
	@echo "compiling and installing sipfast into $(VENV)"
	@JOBS=$(JOBS) PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --no-build-isolation --editable .
	@touch $@

$(VENV)/.built: $(VENV)/.installed $(SOURCES)
	@if [ -n "$(filter %.pyx %.pxd,$?)" ] && [ -e $@ ]; then \
	    echo "$(BIN)/python setup.py build_ext --inplace"; \
	    JOBS=$(JOBS) $(BIN)/python setup.py --quiet build_ext --inplace; fi
	@touch $@
