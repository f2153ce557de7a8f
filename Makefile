# make demo    train the default GAN and draw what it makes
# make test    the tests
# make bench   the benchmarks, against eager PyTorch, torch.compile and JAX: benchmarks/results, docs/benchmarks.md
# make kernels compile every Triton kernel for four GPUs, and write docs/kernels.md
# make docs    the documentation site, in build/site
# make gpu-check  on a machine with a GPU, torch, triton, nvcc and pytest: build, test and measure; OUT=folder,
#                 PART=1 or PART=2 for one part alone, SECONDS=240 for each
# make lint    ruff and mypy
# make versions  the tests on another torch and Triton: TORCH=2.9.1 TRITON=3.5.1, and TESTS=tests/test_dynamo.py for a part
# Each sets up everything it needs in .venv; PYTHON and VENV choose others.

PYTHON ?= python3
VENV ?= .venv
OUT ?= gpu-check
PART ?=
SECONDS ?= 240
BIN := $(VENV)/bin
# Not by fastgan's name: where it is not installed, pip would fetch whatever an index has under that name.
install_extras = $(BIN)/python .ci/extras.py $(1) > $(VENV)/extras.txt && \
	$(BIN)/pip install --quiet --constraint constraints.txt --requirement $(VENV)/extras.txt
PARALLEL := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
SOURCES := $(shell find csrc -type f)

.PHONY: demo test versions bench kernels docs gpu-check lint format clean packages compiled

demo: $(VENV)/installed
	$(BIN)/fastgan train ring

test: $(VENV)/installed
	$(BIN)/pytest $(PARALLEL)

# In an environment of its own, which stays, with a copy of the sources: what is compiled there is for another
# torch. torch asks for a Triton; what TRITON names takes its place.
OTHER = $(abspath build/versions/torch-$(TORCH)-triton-$(TRITON))
versions:
	test -n "$(TORCH)" -a -n "$(TRITON)" || { echo "make versions TORCH=2.9.1 TRITON=3.5.1"; exit 2; }
	test -d $(OTHER) || $(PYTHON) -m venv $(OTHER)
	mkdir -p $(OTHER)/sources
	find $(OTHER)/sources -mindepth 1 -maxdepth 1 ! -name build -exec rm -r {} +
	git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents --target-directory=$(OTHER)/sources
	grep -v '^torch==' constraints.txt > $(OTHER)/constraints.txt
	cd $(OTHER)/sources && \
	../bin/pip install --quiet --constraint ../constraints.txt torch==$(TORCH) --editable '.[train,test]' && \
	../bin/pip install --quiet --no-deps triton==$(TRITON) && \
	../bin/mypy && ../bin/pytest $(PARALLEL) $(TESTS)

# Run it on an idle machine. Failed cases are skipped and reported; a run that is interrupted stores nothing.
bench: $(VENV)/installed-bench
	$(BIN)/pytest benchmarks --ignore=benchmarks/test_guard.py --benchmark-quiet \
		--benchmark-json=$(VENV)/result.json; code=$$?; test $$code -le 1 && \
	mv $(VENV)/result.json benchmarks/results/$$($(BIN)/python -m benchmarks.machine).json && \
	$(BIN)/python -m benchmarks.report && exit $$code

kernels: $(VENV)/installed
	$(BIN)/python -m benchmarks.kernels

docs: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# With the machine's own Python and what is installed there: nothing is downloaded.
gpu-check:
	$(PYTHON) -m benchmarks.gpu $(OUT) $(if $(PART),--part $(PART)) --seconds $(SECONDS)

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Kernels changed or dependencies changed: install again. Packages are fetched and unpacked while the kernels
# compile (by make, which ends both on Ctrl-C); after that no install compiles them once more.
$(VENV)/installed: pyproject.toml setup.py constraints.txt $(SOURCES)
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(MAKE) --jobs=2 --no-print-directory packages compiled
	touch $@

packages:
	$(call install_extras,train test)

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
