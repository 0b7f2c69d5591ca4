# trioker. `make demo` and `make test` need a Debian 12 with python3, make and root; both install what else they use.

PY ?= $(shell test -x /usr/bin/python3 && echo /usr/bin/python3 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
BUILDER := .cache/builder
PYZ := dist/trioker.pyz
# Only tests that need root: nothing of them is imported where those are not run.
ROOT_ROOMS := tests/privileged tests/conformance tests/hosts
TEST_PACKAGES := python3-venv busybox-static btrfs-progs iproute2 git docker-registry skopeo zstd nftables xfsprogs

.DELETE_ON_ERROR:
.PHONY: help demo test test-hosts pyz check unit bench lock clean venv-package test-packages

help:
	@echo 'make demo    build $(PYZ) and show a container'"'"'s life through its API (root)'
	@echo 'make test    check, unit tests, tests with root on the real kernel: all but the next'
	@echo 'make test-hosts   the same file on a Debian 12 with cgroup version 2 alone, in qemu (root; four minutes, the first time five)'
	@echo 'make pyz     build $(PYZ)'
	@echo 'make check   ruff, mypy, import contracts'
	@echo 'make unit    the tests that need no root'
	@echo 'make bench   measure trioker beside dockerd and podman, where installed (root)'
	@echo 'make lock    write the requirement locks anew'
	@echo 'make clean   remove all that was built'

demo: pyz
	$(PY) zipapp/demo.py $(PYZ)

# Those that need root watch the host: one at a time.
test: test-packages pyz check unit
	$(BIN)/python -m pytest -q -m root --ignore tests/hosts/test_second_host.py

test-hosts: pyz $(VENV)/.done
	.ci/apt-install busybox-static qemu-system-x86 mmdebstrap e2fsprogs btrfs-progs xfsprogs
	$(BIN)/python -m pytest -q tests/hosts/test_second_host.py

# Always built: it takes a second, and the commit's id in it is no file that make could compare.
pyz: $(BUILDER)/.done
	$(BUILDER)/bin/python zipapp/build.py $(PYZ)

check: $(VENV)/.done
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	PYTHONPATH=.:drivers $(BIN)/lint-imports

unit: $(VENV)/.done
	$(BIN)/python -m pytest -q -n 3 --dist loadfile -m 'not root' $(addprefix --ignore=,$(ROOT_ROOMS))

bench: pyz
	$(PY) -m benchmarks.peers

lock: $(VENV)/.done
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --generate-hashes --strip-extras zipapp/requirements.in -o zipapp/requirements.txt
	$(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe tests/requirements.in -o tests/requirements.txt

clean:
	rm -rf dist build .cache $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage*
	find . -name __pycache__ -prune -exec rm -rf {} +

# Only pip: what builds the file must not need what tests it.
$(BUILDER)/.done: | venv-package
	$(PY) -m venv --clear $(BUILDER)
	@touch $@

$(VENV)/.done: tests/requirements.txt | venv-package
	$(PY) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements.txt
	@touch $@

# Debian keeps ensurepip, which venv needs, in a package of its own.
venv-package:
	@$(PY) -c 'import ensurepip, venv' 2>/dev/null || .ci/apt-install python3-venv

test-packages:
	@.ci/apt-install $(TEST_PACKAGES)
