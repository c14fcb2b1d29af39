# Everything runs in a virtual environment of its own, which these commands make.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo test test-all test-demo notebooks lint format wheel docs clean

demo: $(VENV)/.installed ## segment the street photograph with the shipped weights
	$(BIN)/python examples/demo.py --out demo-out

test: $(VENV)/.dev ## the tests, but for those that take minutes
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-all: $(VENV)/.dev test-demo ## all tests
	$(BIN)/python -m pytest

test-demo: $(VENV)-demo/.installed ## the demo page, with Gradio, and in Chromium where that is installed
	$(VENV)-demo/bin/python -m pytest tests/test_demo.py

notebooks: $(VENV)/.dev ## run the example notebooks
	$(BIN)/python -m pytest tests/test_notebooks.py

lint: $(VENV)/.dev ## style, format and types, without changing anything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(VENV)/.created ## the wheel, into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

docs: $(VENV)/.docs ## the documentation as a site, into site/; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

clean: ## remove the environment and what the demo wrote
	rm -rf $(VENV) $(VENV)-demo demo-out build dist site *.egg-info

$(VENV)/.created:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml setup.cfg
	$(BIN)/python -m pip install --quiet '.[cpu]'
	touch $@

$(VENV)/.docs: $(VENV)/.created pyproject.toml setup.cfg
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[cpu,dev,tensorrt-rtx]'
	touch $@

# Gradio excludes the newest Pillow, which the other tests use.
$(VENV)-demo/.installed: pyproject.toml setup.cfg
	$(PYTHON) -m venv $(VENV)-demo
	$(VENV)-demo/bin/python -m pip install --quiet --upgrade pip
	$(VENV)-demo/bin/python -m pip install --quiet --editable '.[cpu,demo,onnx]' openvino playwright pytest
	touch $@
