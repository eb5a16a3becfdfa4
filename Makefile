PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
OLDEST = $(VENV)-oldest
LIGHT = $(VENV)-light

.PHONY: test test-fast test-light test-oldest coverage lint demo figure docs fuzz clean

test: $(VENV)/.installed lint test-light
	$(BIN)/python -m pytest

# Two processes of one thread each, a file of tests in one of them: what its tests share is made once.
test-fast: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not browser and not gpu"

# What codes without torch, where torch is not there.
test-light: $(LIGHT)/.installed
	$(LIGHT)/bin/python -m pytest tests/light tests/codec/test_golden.py tests/entropy/test_pmf.py

coverage: $(VENV)/.installed
	$(BIN)/python -m pytest --cov=leechcodec --cov-report=term

# The core with the oldest versions that pyproject.toml allows. torch alone is the newest: its old files are made for CUDA.
test-oldest: $(OLDEST)/.installed
	$(OLDEST)/bin/python -m pytest -m "not slow and not browser and not gpu" \
		tests/lattice tests/entropy tests/formats tests/networks tests/codec

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell leechcodec tools tests docs configs *.md
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python -m tools.checks.prose
	$(BIN)/python -m tools.checks.functions

demo: $(LIGHT)/.core
	$(LIGHT)/bin/python -m tools.demo data/sample.png -o build/demo

# The whole comparison: curves, BD-rates and the report page. KODAK: a folder of images; LPIPS, PUBLISHED: optional files.
# The pair is Λ24-SQ and BSQ trained alike; a codec whose package or model is missing is named and left out.
KODAK ?= data/kodak
RESULTS ?= build/results
CODECS ?= leech leech-twin bsq-twin jpeg jpegli jpeg2000 webp avif avif-420 jxl heic
figure: $(VENV)/.peers $(KODAK)
	$(BIN)/leechcodec eval $(KODAK) $(CODECS:%=--codec %) $(if $(LPIPS),--lpips-weights $(LPIPS)) -o $(RESULTS)
	$(BIN)/leechcodec plot $(RESULTS) --labels -o build/rd.png
	$(BIN)/leechcodec plot $(RESULTS) $(if $(PUBLISHED),--published $(PUBLISHED)) -o build/rd.svg
	$(BIN)/leechcodec bdrate $(RESULTS) --of leech
	-$(BIN)/leechcodec bdrate $(RESULTS) --of leech-twin
	$(BIN)/leechcodec summary $(RESULTS)
	$(BIN)/leechcodec report $(RESULTS) $(if $(PUBLISHED),--published $(PUBLISHED)) -o build/report
	$(BIN)/python -m leechcodec.lab.comparison.kodak_table $(RESULTS)

# Each time: what is there is checked by its sums, and kept.
.PHONY: data/kodak
data/kodak: | $(VENV)/.peers
	$(BIN)/leechcodec data kodak -o $@

# lpips without its dependencies: torchvision may bring another torch.
$(VENV)/.peers: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt bjontegaard matplotlib plotly pytorch-msssim ssimulacra2 pillow-heif
	-$(BIN)/python -m pip install --quiet --constraint constraints.txt pillow-jxl-plugin
	-$(BIN)/python -m pip install --quiet --constraint constraints.txt pyjpegli
	$(BIN)/python -m pip install --quiet --no-deps lpips
	touch $@

# The site, in build/site.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,lint]'
	-$(BIN)/python -m pip install --quiet --constraint constraints.txt vector-quantize-pytorch
	touch $@

$(LIGHT)/.core: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(LIGHT)
	$(LIGHT)/bin/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(LIGHT)/.installed: $(LIGHT)/.core
	$(LIGHT)/bin/python -m pip install --quiet --constraint constraints.txt pytest hypothesis
	touch $@

$(OLDEST)/.installed: pyproject.toml constraints.txt tools/oldest.py
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --constraint constraints.txt torch
	$(PYTHON) -m tools.oldest > $(OLDEST)/oldest.txt
	$(OLDEST)/bin/python -m pip install --quiet --constraint $(OLDEST)/oldest.txt --editable . constriction hypothesis pytest
	touch $@

# About an hour and a half on one core.
fuzz: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt atheris
	$(BIN)/python -m tools.fuzz.seeded prefixes
	$(BIN)/python -m tools.fuzz.seeded containers --count 1000000
	$(BIN)/python -m tools.fuzz.seeded decodes --count 20000
	$(BIN)/python -m tools.fuzz.guided containers build/fuzz/containers -max_total_time=900
	$(BIN)/python -m tools.fuzz.guided decodes build/fuzz/decodes -max_total_time=900

clean:
	rm -rf $(VENV) $(OLDEST) $(LIGHT) build dist .pytest_cache .ruff_cache
