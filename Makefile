# make demo    train the default GAN and draw what it makes
# make test    the tests
# make bench   the benchmarks, against eager PyTorch and torch.compile
# make kernels compile every Triton kernel for four GPUs, and write docs/kernels.md
# make gpu-check  on a machine with a GPU, torch, triton, nvcc and pytest: build, test and measure; OUT=folder
# make lint    ruff and mypy
# Each sets up everything it needs in .venv; PYTHON and VENV choose others.

PYTHON ?= python3
VENV ?= .venv
OUT ?= gpu-check
BIN := $(VENV)/bin
SOURCES := $(shell find csrc -type f)

.PHONY: demo test bench kernels gpu-check lint format clean

demo: $(VENV)/installed
	$(BIN)/fastgan train ring

test: $(VENV)/installed
	$(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

bench: $(VENV)/installed
	$(BIN)/pytest benchmarks

kernels: $(VENV)/installed
	$(BIN)/python -m benchmarks.kernels

# With the machine's own Python and what is installed there: nothing is downloaded.
gpu-check:
	$(PYTHON) -m benchmarks.gpu_check $(OUT)

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Kernels changed or dependencies changed: install again. ninja recompiles what changed.
$(VENV)/installed: pyproject.toml setup.py constraints.txt $(SOURCES)
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[train,test]'
	touch $@

clean:
	rm -rf build dist *.egg-info fastgan/_C*.so $(VENV)
