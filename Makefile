# Everything below needs Python >= 3.11 and make, and writes only .venv, out-audit and caches.
#
#   make audit   install, read the example logs, print the headline and where the report is
#   make test    install for development, then lint, format check, types and the whole test suite
#   make test-lowest   the test suite on the oldest libraries that pyproject.toml admits
#   make docs    the documentation site in docs/_build/html, built without a network; warnings are errors
#   make notebooks   execute the notebooks again and store their output
#   make bench   time, peak memory and accuracy on larger inputs
#   make fuzz    a million damaged logs through every reader, half an hour to two hours
#   make bench-coverage   coverage of the intervals beside econml, doubleml, Wald and an oracle; one and a half to two hours
#   make clean   remove everything that these made

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SOURCES := $(shell find . -path './$(VENV)*' -prune -o -path ./build -prune -o -name '*.py' -print)

.PHONY: audit test test-lowest docs notebooks bench fuzz bench-coverage clean
.DELETE_ON_ERROR:

audit: $(VENV)/.installed
	$(BIN)/shadowprice audit examples/logs $(foreach map,$(wildcard examples/logs/*.mapping.toml),--mapping $(map)) \
	  --config examples/shadowprice.toml --out out-audit --force

test: $(VENV)/.installed-for-development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/pytest -n $(JOBS)

docs: $(VENV)/.installed-for-development
	$(BIN)/python docs/generate.py
	$(BIN)/python -m sphinx -b html -W --keep-going -q docs docs/_build/html
	@echo docs/_build/html/index.html

notebooks: $(VENV)/.installed-for-development
	$(BIN)/python notebooks/execute.py

test-lowest:
	$(PYTHON) -m venv --clear $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip --disable-pip-version-check --quiet install uv
	$(VENV)-lowest/bin/uv pip install --quiet --python $(VENV)-lowest/bin/python --resolution lowest-direct --editable '.[dev]'
	$(VENV)-lowest/bin/pytest -n $(JOBS)

bench: $(VENV)/.installed-for-development
	$(BIN)/python benchmarks/bench_help.py
	$(BIN)/python benchmarks/bench_audit.py
	$(BIN)/python benchmarks/bench_routellm.py
	$(BIN)/python benchmarks/bench_open_bandit.py
	$(BIN)/python benchmarks/bench_digits.py
	$(BIN)/python benchmarks/bench_risk.py
	$(BIN)/python benchmarks/bench_stream.py
	$(BIN)/python benchmarks/bench_cate.py
	$(BIN)/python benchmarks/bench_speed.py
	$(BIN)/python benchmarks/bench_exploration.py
	$(BIN)/python benchmarks/bench_duals.py
	$(BIN)/python benchmarks/bench_regret.py
	$(BIN)/python benchmarks/bench_revealed.py
	$(BIN)/python benchmarks/bench_congestion.py
	$(BIN)/python benchmarks/bench_capital.py
	$(BIN)/python benchmarks/bench_predictions.py
	$(BIN)/python benchmarks/bench_detectors.py --null 20 --worlds 3
	$(BIN)/python benchmarks/bench_ingest.py
	$(BIN)/python benchmarks/bench_ingest_faults.py

fuzz: $(VENV)/.installed-for-development
	$(PIP) install --editable '.[dev,fuzz]'
	$(BIN)/python benchmarks/fuzz_readers.py

bench-coverage: $(VENV)/.installed-for-development
	$(BIN)/python benchmarks/bench_coverage.py --check

clean:
	rm -rf $(VENV) $(VENV)-lowest build dist docs/_build docs/notebooks out-audit out-coverage shadowprice.egg-info .pytest_cache .ruff_cache .hypothesis

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "shadowprice needs Python >= 3.11, but $(PYTHON) is older or absent. Try: make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# Where the environment is already set up for development, the editable install serves `make audit` too.
$(VENV)/.installed: $(VENV)/.created pyproject.toml $(SOURCES)
	@test -f $(VENV)/.installed-for-development || { echo "installing into $(VENV) ..."; $(PIP) install .; }
	@touch $@

$(VENV)/.installed-for-development: $(VENV)/.created pyproject.toml
	@echo "installing for development into $(VENV) ..."
	$(PIP) install --editable '.[dev,docs,consumers]'
	@touch $@
