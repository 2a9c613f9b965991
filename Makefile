# One command for each thing that people do from a clean clone. Every step is plain pip and partsight:
# README.md shows the same without make.
PYTHON ?= python3
BIN := .venv/bin
DATA ?= examples/parts

.PHONY: demo test test-long fuzz faults bounds lint docs dist clean

demo: .venv/installed
	rm -rf build/demo/run build/demo/parts.partsight
	$(BIN)/partsight train examples/parts/golden --out build/demo/run
	$(BIN)/partsight export build/demo/run --precision fp32 --out build/demo/parts.partsight
	$(BIN)/python -m benchmarks.accuracy.recognition build/demo/parts.partsight --data $(DATA) --out build/demo
	@echo "report: build/demo/parts.partsight/report.html"

test: .venv/installed
	$(BIN)/python -m pytest -n auto --dist loadfile

test-long: .venv/installed
	$(BIN)/python -m pytest -m long

# A million hostile inputs over every border (docs/fuzzing.md): some minutes on two cores. `make test` tries 10,000.
fuzz: .venv/installed
	$(BIN)/python -m tests.fuzz --cases 1000000 --out build/fuzz.json

# Every fault at every file operation of every job (docs/faults.md): hours; EVERY=20 takes a sample.
faults: .venv/installed
	$(BIN)/python -m tests.faults --every $(or $(EVERY),1) --json build/faults.json

bounds:
	$(PYTHON) .ci/bounds lowest -m "not long and not debian"
	$(PYTHON) .ci/bounds newest -m "not long and not debian"

# In an environment of its own: types and style need no TensorFlow (2.8 GB).
lint: build/lint/installed
	build/lint/bin/ruff format --check .
	build/lint/bin/ruff check .
	build/lint/bin/mypy
	.ci/phrases

docs: build/docs-tools/installed
	build/docs-tools/bin/sphinx-build -W --keep-going -q -b html docs build/docs
	@echo "site: build/docs/index.html"

dist: build/lint/installed
	rm -rf dist
	build/lint/bin/python -m build --outdir dist
	build/lint/bin/twine check --strict dist/*

build/lint/installed: pyproject.toml
	$(PYTHON) -m venv build/lint
	build/lint/bin/pip install --quiet -e ".[dev]"
	touch $@

build/docs-tools/installed: pyproject.toml
	$(PYTHON) -m venv build/docs-tools
	build/docs-tools/bin/pip install --quiet -e ".[docs]"
	touch $@

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -e ".[cpu,openvino,train,test]"
	touch $@

clean:
	rm -rf .venv build dist
