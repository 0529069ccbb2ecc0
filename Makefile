# `make demo` and `make test` set up what they need in .venv; any Python from 3.11 on will do:
# make demo PYTHON=python3.12
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

# The release that onnx_models/ was exported with. Another one works too, but files may differ.
TORCH = torch==2.13.0

.PHONY: demo test check

demo: $(VENV)/.demo
	$(BIN)/python demo.py

# A process for each core: with several threads of PyTorch in each they would wait for one another.
test: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

check: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

$(BIN)/python:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { \
		echo "Python 3.11 or newer is needed: make ... PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# requirements.txt names the gradio that is tested; the demo relies on more than its interface.
$(VENV)/.demo: pyproject.toml requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable . "$$(grep ^gradio requirements.txt)"
	touch $@

$(VENV)/.test: pyproject.toml requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet $(TORCH) --editable ".[dev]" "$$(grep ^gradio requirements.txt)"
	@command -v chromium || command -v chromium-browser || command -v google-chrome \
		|| $(BIN)/python -m playwright install chromium
	touch $@
