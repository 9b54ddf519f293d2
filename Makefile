# make native builds the C++ and CUDA kernels of custom_ops with Bazel; make native-test runs their unit tests
# make demo   a picture immediately, then transfer learning, export, a server, a results page; run it again to train on
# make explorer  the built files of the web page in serving/explorer
# make soak   an hour of random kills, request storms and memory checks (SG3TF_SOAK_MINUTES=60)
# make test   all tests; make test-fast skips those marked slow and the Beam runner; make lint: ruff, clang-format, import contracts, prose, mypy
# Everything is installed into .venv, with the exact versions of constraints.txt.

# The environment's Python, or the first one that runs and that TensorFlow has wheels for. A name on the path may be a
# shim for a missing version.
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for p in .venv/bin/python python3 python3.13 python3.12 python3.11; do \
  $$p -c '$(SUPPORTED)' 2>/dev/null && { echo $$p; break; }; done)
DATA ?=
KIMG ?= 12
BIN := .venv/bin

# An environment of another Python version is cleared first, because venv would keep its bin/python; so is one that is
# stale, by the second argument. What a link leads to is never cleared.
VERSION := import sys; print(sys.version_info[:2])
define make_environment
	@$(or $(PYTHON),false) -c '$(SUPPORTED)' || \
	  { echo "no Python 3.11 to 3.13 found, which TensorFlow 2.21 needs: make PYTHON=/path/to/python3"; exit 1; }
	@clear=; there=$$($(1)/bin/python -c '$(VERSION)' 2>/dev/null); \
	  { [ -z "$(2)" ] && [ "$$there" = "$$($(PYTHON) -c '$(VERSION)')" ]; } || [ -L $(1) ] || clear=--clear; \
	  $(PYTHON) -m venv $$clear $(1)
endef

# The programs in .venv/bin name the folder of the checkout, which .venv/.installed holds (of earlier revisions, nothing).
# After it was moved or copied, or if the interpreter is gone, .venv is stale. Behind a link may be the environment of
# another checkout, which is left as it is.
STATE_OF_VENV := $(shell made_in=$$(cat .venv/.installed 2>/dev/null) || exit; runs() { [ -x .venv/bin/python ]; }; \
  if [ "$$made_in" = "$(CURDIR)" ] && runs; then :; elif [ -L .venv ]; then echo linked; \
  elif [ -n "$$made_in" ] || ! runs; then echo stale; fi)

.PHONY: explorer explorer-tools docs format soak soak-serving demo gpu-programs native native-test test test-fast test-beam lint wheel wheel-test clean

demo: .venv/.installed
	@$(BIN)/python examples/demo/demo.py --data="$(DATA)" --kimg=$(KIMG)

native: .venv/.installed
	@custom_ops/install.sh $(BIN)/python

# Plain, and under AddressSanitizer and UBSan.
native-test: native
	$$(command -v bazel || command -v bazelisk) test //custom_ops/...
	$$(command -v bazel || command -v bazelisk) test --config=sanitize //custom_ops/...

# The files that custom_ops/gpu/run_all.sh needs on a machine with a GPU and without TensorFlow. Kernels are compiled
# here, by that machine's version of NVRTC.
GPU_NVRTC := 13.0.88
gpu-programs: native
	rm -rf build/gpu_programs
	$(BIN)/python custom_ops/gpu/export_programs.py --out=build/gpu_programs
	$(BIN)/python custom_ops/gpu/weight_gradients.py --out=build/gpu_programs
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target build/nvrtc nvidia-cuda-nvrtc==$(GPU_NVRTC)
	$(BIN)/python custom_ops/gpu/compile_kernels.py --out=build/gpu_programs/kernels \
	  --nvrtc=build/nvrtc/nvidia/cu13/lib/libnvrtc.so.13

# The wheel includes the native library, so it is for this platform and this version of TensorFlow.
wheel: native
	rm -rf build dist
	$(BIN)/python -m build --quiet --wheel

# Installs the wheel into a new environment, away from the sources.
WHEEL_FILES := import sg3tf; from importlib.resources import files; \
  sg3tf.load("portraits-32"); (files("serving") / "explorer/dist/index.html").read_bytes()
wheel-test: wheel
	@set -e; folder=$$(mktemp -d); trap "rm -rf $$folder" EXIT; $(PYTHON) -m venv $$folder; \
	$$folder/bin/python -m pip install --quiet --constraint constraints.txt dist/*.whl; \
	cd $$folder; SG3TF_OPS=native bin/sg3tf doctor; bin/python -c '$(WHEEL_FILES)'

# One process per group, because XLA never frees compiled programs; two at a time, the longest first.
TEST_GROUPS := tests/trainer tests/sg3tf tests/serving tests/examples tests/sg3tf/ops tests/benchmarks tests/custom_ops \
  $(wildcard tests/test_*.py)
run_tests = $(MAKE) --no-print-directory --jobs=2 --keep-going --output-sync=target $(TEST_GROUPS)

.PHONY: $(TEST_GROUPS)
$(TEST_GROUPS):
	@echo "== $@"
	@env -u PYTHONUNBUFFERED $(BIN)/python -m pytest $@ $(if $(filter tests/sg3tf,$@),--ignore=tests/sg3tf/ops) $(PYTEST_FLAGS)

test: .venv/.installed
	@$(MAKE) --no-print-directory --jobs=2 native-test test-beam .venv-clients/.installed
	@$(MAKE) --no-print-directory explorer-tools  # uses apt, as the installation of Bazel does, so not in parallel
	@$(run_tests)

test-fast: .venv/.installed
	@custom_ops/install.sh $(BIN)/python || { [ $$? = 3 ] && echo "tests of native operations are skipped"; }
	@$(run_tests) PYTEST_FLAGS='-m "not slow"'

# Apache Beam needs an older protobuf than TensorFlow's tests; building data sets does not need TensorFlow. Reading them
# is tested with TensorFlow.
BEAM_TESTS := $(addprefix tests/sg3tf/data/,build sources test_example.py test_tfrecord.py)
test-beam: .venv-beam/.installed
	.venv-beam/bin/python -m pytest $(BEAM_TESTS)

.venv-beam/.installed: pyproject.toml
	$(call make_environment,.venv-beam)
	.venv-beam/bin/python -m pip install --quiet "apache-beam>=2.77,<3" absl-py google-crc32c numpy pillow tqdm lmdb \
	  pytest hypothesis
	touch $@

# Random kills, request storms, workers that disturb each other, and memory checks; counts are written to build/soak.
SG3TF_SOAK_MINUTES ?= 60
SG3TF_SOAK_SEED ?= 0
STORM_REPORT := SG3TF_SOAK_REPORT=$(CURDIR)/build/soak/storms.json
soak: native
	@status=0; minutes=$(SG3TF_SOAK_MINUTES); \
	$(BIN)/python -m tests.helpers.kill_soak --minutes=$$minutes/2 --seed=$(SG3TF_SOAK_SEED) --out=build/soak/kills.json || status=1; \
	$(STORM_REPORT) SG3TF_SOAK=$$minutes $(BIN)/python -m pytest tests/serving/server/test_storm.py || status=1; \
	$(BIN)/python -m tests.helpers.worker_soak --minutes=$$((minutes / 6)) --out=build/soak/workers.json || status=1; \
	$(BIN)/python -m tests.helpers.memory_soak --program=training --minutes=$$minutes/6 --out=build/soak/training.json || status=1; \
	exit $$status

# Request storms against the server, and checks of its memory, for half of the time each.
soak-serving: .venv/.installed
	@status=0; minutes=$(SG3TF_SOAK_MINUTES); \
	$(STORM_REPORT) SG3TF_SOAK=$$((minutes * 2)) $(BIN)/python -m pytest tests/serving/server/test_storm.py || status=1; \
	$(BIN)/python -m tests.helpers.memory_soak --program=serving --minutes=$$minutes/2 --out=build/soak/serving.json || status=1; \
	exit $$status

# Public gRPC clients of TensorFlow Serving, generated for an older protobuf; two of them have packages with the same
# names. Without npm, the client for Node is skipped; where npm fails, it is tried again by the next make test.
.venv-clients/.installed: Makefile
	$(call make_environment,.venv-clients)
	.venv-clients/bin/python -m pip install --quiet "grpcio>=1.70" "protobuf==3.20.3" "numpy>=2.0"
	.venv-clients/bin/python -m pip install --quiet --no-deps --upgrade --target .venv-clients/min-tfs-client min-tfs-client==1.0.2
	.venv-clients/bin/python -m pip install --quiet --no-deps --upgrade --target .venv-clients/serving-client \
	  tensorflow-serving-client-grpc==2.3.0
	@if ! command -v npm >/dev/null; then echo "no npm: the client for Node is not tested"; touch $@; \
	elif npm install --loglevel=error --no-audit --no-fund --prefix .venv-clients \
	  @grpc/grpc-js@1.14.7 @grpc/proto-loader@0.8.1 >/dev/null; then touch $@; \
	else [ -z "$$CI" ] && echo "npm cannot install: the client for Node is not tested"; fi

# The built files of the web page, which are committed; a test fails when they are stale.
explorer: serving/explorer/node_modules/.package-lock.json
	cd serving/explorer && npm run --silent build

# Requirements of the explorer's tests: its packages, and a browser.
explorer-tools:
	@if ! command -v npm >/dev/null; then echo "no npm: the explorer is not tested"; \
	else $(MAKE) --no-print-directory serving/explorer/node_modules/.package-lock.json || \
	  { [ -z "$$CI" ] && echo "npm cannot install: the explorer is not tested"; }; fi
	@for name in chromium chromium-browser google-chrome; do command -v $$name && break; done >/dev/null || \
	  { command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && \
	    { apt-get install --yes --quiet=2 chromium || { apt-get update --quiet=2 && apt-get install --yes --quiet=2 chromium; }; } >/dev/null 2>&1; } || \
	  echo "no Chromium, and it cannot be installed here: the explorer is not tested in a browser"

# Not npm ci, which fails if the registry lacks an optional Vite package for Windows.
serving/explorer/node_modules/.package-lock.json: serving/explorer/package-lock.json
	cd serving/explorer && npm install --loglevel=error --no-save >/dev/null
	touch $@

docs: .venv/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "open site/index.html"

format: .venv/.installed
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format --quiet .
	$(BIN)/clang-format -i $$(find custom_ops benchmarks -name '*.h' -o -name '*.cc' -o -name '*.cu')

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $$(find custom_ops benchmarks -name '*.h' -o -name '*.cc' -o -name '*.cu')
	$(BIN)/lint-imports
	$(BIN)/python tools/prose.py
	$(BIN)/mypy tools sg3tf trainer serving examples/demo benchmarks configure.py custom_ops/gpu

ifeq ($(STATE_OF_VENV),stale)
.PHONY: .venv/.installed
endif
.venv/.installed: $(if $(filter linked,$(STATE_OF_VENV)),,pyproject.toml constraints.txt)
	$(call make_environment,.venv,$(filter stale,$(STATE_OF_VENV)))
	@echo "installing into .venv, which takes a few minutes"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[train,serve,onnx,litert,hub,metrics,video,lmdb,parquet,profile,photos,docs,dev]"
	@echo "$(CURDIR)" >$@

clean:
	rm -rf .venv .venv-beam .venv-clients build dist serving/explorer/node_modules sg3tf/ops/lib .tf_configure.bazelrc *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
