# make demo       train the default GAN and draw its samples
# make test       run the tests
# make bench      compare with eager PyTorch, torch.compile and JAX; writes benchmarks/results and docs/benchmarks.md
# make kernels    compile every Triton kernel for four GPUs; writes docs/kernels.md
# make docs       build the documentation site in build/site
# make gpu-check  build, test and measure on a machine with a GPU, torch, triton, nvcc and pytest. OUT=folder,
#                 PART=1 or PART=2 for one part, SECONDS=240 for each
# make lint       run ruff and mypy
# make peers      compare fastgan.compat, the Fréchet distance and figures of tables with the packages themselves
# make versions   run the tests with TORCH=2.9.1 TRITON=3.5.1, or only TESTS=tests/test_dynamo.py
# Each target but gpu-check and versions installs what it needs in VENV=.venv with PYTHON=python3.

PYTHON ?= python3
VENV ?= .venv
OUT ?= gpu-check
PART ?=
SECONDS ?= 240
BIN := $(VENV)/bin
# Installs the extras without naming fastgan: if it is not installed, pip would download it from an index.
install_extras = $(BIN)/python .ci/extras.py $(1) > $(VENV)/extras.txt && \
	$(BIN)/pip install --quiet --constraint constraints.txt --requirement $(VENV)/extras.txt
PARALLEL := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
SOURCES := $(shell find csrc -type f)

# Tests start hundreds of processes. Where this is set, each would compile the same modules again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test peers versions bench kernels docs gpu-check lint format clean packages compiled

demo: $(VENV)/installed
	$(BIN)/fastgan train ring

test: $(VENV)/installed
	$(BIN)/pytest $(PARALLEL)

# Without what the packages depend on: several ask for old versions of torch and NumPy. A setup.py among them imports
# pip, which an isolated build does not have.
peers: $(VENV)/installed
	test -d build/peers || { $(BIN)/python .ci/extras.py peers | grep == > $(VENV)/peers.txt && \
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --target build/peers.part \
		--requirement $(VENV)/peers.txt && \
	mv build/peers.part build/peers; }
	$(BIN)/pytest tests/peers.py tests/peers_quality.py

# Uses a separate environment, which is kept, and a copy of the sources, as compiled modules depend on torch. torch
# installs its own Triton, which TRITON then replaces.
OTHER = $(abspath build/versions/torch-$(TORCH)-triton-$(TRITON))
versions:
	test -n "$(TORCH)" -a -n "$(TRITON)" || { echo "make versions TORCH=2.9.1 TRITON=3.5.1"; exit 2; }
	test -d $(OTHER) || $(PYTHON) -m venv $(OTHER)
	mkdir -p $(OTHER)/sources
	find $(OTHER)/sources -mindepth 1 -maxdepth 1 ! -name build -exec rm -r {} +
	git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents --target-directory=$(OTHER)/sources
	grep -v '^torch==' constraints.txt > $(OTHER)/constraints.txt
	cd $(OTHER)/sources && \
	../bin/pip install --quiet --constraint ../constraints.txt torch==$(TORCH) --editable '.[train,tabular,test]' && \
	../bin/pip install --quiet --no-deps triton==$(TRITON) && \
	../bin/mypy && ../bin/pytest $(PARALLEL) $(TESTS)

# Needs an idle machine. Failed cases are skipped and reported. An interrupted run stores nothing.
bench: $(VENV)/installed-bench
	$(BIN)/pytest benchmarks --ignore=benchmarks/test_guard.py --benchmark-quiet \
		--benchmark-json=$(VENV)/result.json; code=$$?; test $$code -le 1 && \
	mv $(VENV)/result.json benchmarks/results/$$($(BIN)/python -m benchmarks.machine).json && \
	$(BIN)/python -m benchmarks.report && exit $$code

kernels: $(VENV)/installed
	$(BIN)/python -m benchmarks.kernels

docs: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Uses the machine's Python and installed packages; downloads nothing.
gpu-check:
	$(PYTHON) -m benchmarks.gpu $(OUT) $(if $(PART),--part $(PART)) --seconds $(SECONDS)

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Runs again if kernels or dependencies have changed. Installs packages while the kernels compile. make runs both,
# so that Ctrl-C ends both. Later installs do not compile again.
$(VENV)/installed: pyproject.toml setup.py constraints.txt $(SOURCES)
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(MAKE) --jobs=2 --no-print-directory packages compiled
	touch $@

packages:
	$(call install_extras,train tabular test)

compiled:
	$(BIN)/pip install --quiet --no-deps --editable .

$(VENV)/installed-bench: $(VENV)/installed
	$(call install_extras,bench)
	touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(call install_extras,docs)
	touch $@

clean:
	rm -rf build dist *.egg-info fastgan/_cpu*.so $(VENV)
