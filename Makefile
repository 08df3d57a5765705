# Everything starts here: `make run` and `make test` set up what they need.
VENV := .venv
BIN := $(VENV)/bin
SAMPLES := .samples
COMPILE := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --custom-compile-command "make lock"
# The project without TensorFlow, of which uv reads the pyproject.toml in a folder of its own.
CONTROL = $(BIN)/python requirements/distributions.py --pyproject > $(1)/pyproject.toml
LOCKED := --extra samples --group dev --group sample-encoders
# Later ones may want a newer node than 20.
AZURITE_VERSION := 3.35.0
CHROMIUM_VERSION := 153.0.0
# Those that tests/browser.py looks for.
BROWSERS := chromium-headless-shell chromium google-chrome
# Each a process of its own; what is in none of these folders is one more. The longest first.
TEST_FOLDERS := azureml control compute boundary
TEST_PARTS := azureml-a azureml-p control rest compute boundary
# Those beside Azure ML wait a good deal, so they are two parts, by the first letter of the file.
OF_azureml-a := tests/azureml --ignore-glob=*/test_[p-z]*.py
OF_azureml-p := tests/azureml --ignore-glob=*/test_[a-o]*.py
# All that is in no other part, so that no test is in neither.
OF_rest := $(TEST_FOLDERS:%=--ignore=tests/%)
FOLDERS_OF = $(or $(OF_$(1)),tests/$(1))
BENCHMARKS := $(patsubst tests/benchmarks/bench_%.py,bench-%,$(wildcard tests/benchmarks/bench_*.py))
WITH_NODE = PATH="$(CURDIR)/.node/bin:$$PATH"
# What each part prints stays together, where make knows how.
TOGETHER := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

.PHONY: run setup samples check lock lock-check reference docs test $(TEST_PARTS:%=test-%) \
	test-all $(TEST_PARTS:%=test-all-%) test-azure test-tools all-tools \
	node azurite mount-runtime browser soak bench $(BENCHMARKS) dist clean

run: samples
	@$(BIN)/tfhub-blocks run transfer_learning \
		--set source=$(SAMPLES)/images --set encoder=$(SAMPLES)/encoder --set min_accuracy=0.6

# Compared by content, so that a fresh clone's times or a switched branch change nothing.
setup:
	@cmp -s requirements/dev.lock $(VENV)/installed.lock \
		&& cmp -s pyproject.toml $(VENV)/installed.toml \
		|| sh requirements/install.sh $(VENV)

samples: setup
	@test -d $(SAMPLES)/images || $(BIN)/tfhub-blocks samples images $(SAMPLES)/images
	@test -d $(SAMPLES)/encoder || $(BIN)/tfhub-blocks samples encoder $(SAMPLES)/encoder

check: setup lock-check
	@$(BIN)/ruff format --check -q .
	@$(BIN)/ruff check -q .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python tests/house/package_graph.py
	@$(BIN)/python tests/house/language.py --check .
	@$(MAKE) --no-print-directory docs
	@for kind in profile:pipelines/profiles/*.toml prices:pipelines/prices.toml \
		ci:pipelines/ci.toml; do \
		$(BIN)/check-jsonschema -q --schemafile tfhub_blocks/schemas/$${kind%%:*}.schema.json \
			$${kind#*:} || exit 1; \
	done
	@$(BIN)/tfhub-blocks env check
	@report=$$(BLOCKS_OWNER=make BLOCKS_COST_CENTRE=make $(BIN)/tfhub-blocks check --all \
		--profile production) || { echo "$$report" >&2; exit 1; }

lock: setup
	$(COMPILE) $(LOCKED) pyproject.toml -o requirements/dev.lock
	@scratch=$$(mktemp -d) && trap 'rm -rf '$$scratch EXIT && $(call CONTROL,$$scratch) \
		&& $(COMPILE) $$scratch/pyproject.toml -o requirements/control.lock
	$(COMPILE) requirements/node.in -o requirements/node.lock
	$(COMPILE) requirements/mount.in -o requirements/mount.lock
	$(BIN)/tfhub-blocks env lock

# The pages that say what the code says; a test compares them with the code.
reference: setup
	$(BIN)/python docs/write_reference.py

# The site, in .site/site/index.html. A link without a page or an anchor ends the build.
docs: setup
	@rm -rf .site && mkdir .site && cp -R docs .site/docs && mv .site/docs/zensical.toml .site \
		&& $(BIN)/zensical build --strict --config-file .site/zensical.toml > .site/log 2>&1 \
		|| { cat .site/log >&2; exit 1; }
	@echo "Built $$(find .site/site -name '*.html' | wc -l) pages: .site/site/index.html"

# Compiling onto a copy keeps its versions, so it differs only if what is asked for changed.
lock-check: setup
	@copy=$$(mktemp -d) && trap 'rm -rf '$$copy EXIT \
		&& cp requirements/*.lock $$copy && $(call CONTROL,$$copy) \
		&& { $(COMPILE) $(LOCKED) pyproject.toml -o $$copy/dev.lock \
		&& $(COMPILE) $$copy/pyproject.toml -o $$copy/control.lock \
		&& $(COMPILE) requirements/node.in -o $$copy/node.lock \
		&& $(COMPILE) requirements/mount.in -o $$copy/mount.lock || { \
		echo "error: [make > lock-check] the locks cannot be resolved again. Expected an" \
		"answer of the package registry. See the message of uv above." >&2; exit 1; }; } \
		&& for lock in control dev node mount; do cmp -s requirements/$$lock.lock $$copy/$$lock.lock \
		|| { echo "error: [make > lock-check] requirements/$$lock.lock does not match its input." \
		"Expected the output of \`make lock\`. Run \`make lock\` and commit the result." >&2; \
		exit 1; }; done

# Four at a time keep two cores busy, because those beside Azure ML wait, and what they wait for goes
# before what computes. What several of them need is made once, in a folder that they share.
test: setup
	@$(MAKE) --no-print-directory -j2 samples test-tools
	@echo "Testing in $(words $(TEST_PARTS)) parts, at most 14 minutes on two cores; each prints" \
		"when it is done"
	@shared=$$(mktemp -d) && trap 'rm -rf '$$shared EXIT && export BLOCKS_TESTS_SHARED=$$shared \
		&& $(MAKE) --no-print-directory --keep-going -j4 $(TOGETHER) check $(TEST_PARTS:%=test-%)

$(TEST_PARTS:%=test-%): test-%:
	@$(if $(filter-out azureml-%,$*),nice -n 5) \
		$(BIN)/python -m pytest -m "not slow and not soak" $(call FOLDERS_OF,$*)

# All checks but those of `make soak`, at most 2 hours on two cores; each part can be run alone.
test-all: check all-tools
	@shared=$$(mktemp -d) && trap 'rm -rf '$$shared EXIT && export BLOCKS_TESTS_SHARED=$$shared \
		&& $(MAKE) --no-print-directory --keep-going $(TEST_PARTS:%=test-all-%)

$(TEST_PARTS:%=test-all-%): test-all-%: all-tools
	@TORCH_PYTHON=.venv-torch/bin/python \
		$(BIN)/python -m pytest -m "not soak" $(call FOLDERS_OF,$*)

all-tools: samples test-tools .venv-torch/ready $(SAMPLES)/fashion-mnist

# What takes longer than that: a million rows, tens of thousands of requests.
soak: all-tools
	@$(BIN)/python -m pytest -m soak --timeout 14400

test-azure: setup azurite
	@$(BIN)/python -m pytest tests/azureml

# What cannot be installed keeps no other test from running: its tests are skipped, and say why.
test-tools: setup
	@$(MAKE) --no-print-directory --keep-going azurite mount-runtime browser \
		|| echo "warning: [make > test] the tests that need what is missing above will be skipped" >&2

# Node.js with npm: this machine's, or a package's on PyPI.
node: setup
	@.node/bin/node --version > /dev/null 2>&1 || sh requirements/node.sh .node $(BIN)/python

# The storage of the Azure ML on loopback (docs/testing-azure.md).
azurite: node
	@test -e .azurite/$(AZURITE_VERSION) || $(WITH_NODE) \
		sh requirements/azurite.sh .azurite $(AZURITE_VERSION)

# The file system of Azure ML's jobs (docs/testing-azure.md), in an environment of its own.
mount-runtime: setup
	@cmp -s requirements/mount.lock .mount/installed || { rm -rf .mount \
		&& echo "Installing Azure's data runtime into .mount (once, about 140 MB)" \
		&& $(BIN)/python -m venv .mount && .mount/bin/python -m pip install -q \
		--disable-pip-version-check --no-deps --require-hashes -r requirements/mount.lock \
		&& cp requirements/mount.lock .mount/installed; }

# Pages are tested in the machine's browser, or in one that npm has.
browser: node
	@for name in $(BROWSERS); do ! command -v $$name > /dev/null || exit 0; done; \
		test -e .browser/$(CHROMIUM_VERSION) || $(WITH_NODE) \
		sh requirements/browser.sh .browser $(CHROMIUM_VERSION)

# Each can be run alone, in full by its file. Together they take at most an hour on two cores.
bench: samples
	@$(MAKE) --no-print-directory --keep-going $(BENCHMARKS)

$(BENCHMARKS): bench-%: samples
	@echo "== tests/benchmarks/bench_$*.py $(SIZE)"
	@$(BIN)/python tests/benchmarks/bench_$*.py $(SIZE)

bench-extraction: SIZE := --repeats 1 --images 1200
bench-fine_tuning: SIZE := --peer-epochs 2
bench-heads: SIZE := --peer-strengths 4
bench-incremental: SIZE := --images 3000
bench-snapshots: SIZE := --quick

# A real task of Debian's, for tests that train; without apt-get they are skipped.
$(SAMPLES)/fashion-mnist:
	@if command -v apt-get > /dev/null; then scratch=$$(mktemp -d) && trap 'rm -rf '$$scratch EXIT \
		&& (cd $$scratch && apt-get download -q dataset-fashion-mnist && dpkg -x *.deb .) \
		&& cp -r $$scratch/usr/share/datasets/fashion-mnist $@.partial && mv $@.partial $@; fi

# Torch has no place in the product's environment: it is only what the sample encoder is held to.
.venv-torch/ready: requirements/torch.in
	@$(BIN)/python -m venv .venv-torch
	@.venv-torch/bin/pip install -q --disable-pip-version-check -r requirements/torch.in
	@touch $@

# Both distributions, with TensorFlow and without.
dist: setup
	@$(BIN)/python requirements/distributions.py

clean:
	rm -rf dist $(VENV) .venv-torch .node .mount .azurite .browser $(SAMPLES) .runs
