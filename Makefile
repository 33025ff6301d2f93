# Everything a fresh machine needs is Python >= 3.11, make and pip.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# Processes that `make test` runs tests in; 0: its own alone.
WORKERS ?= 2

# A pip configuration for the images' builds: an index of torch's CPU wheels, mirrors. Seen by the pip steps alone.
PIP_CONF ?=
# Where a cluster takes its images from.
REGISTRY ?=
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
BUILD = docker build $(if $(PIP_CONF),--secret id=pip$(COMMA)src=$(PIP_CONF))
COMMA := ,

.PHONY: setup setup-services sweep test chaos check bench format clean kind operator image push

setup: $(STAMP)

$(STAMP): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "orch needs Python >= 3.11, and $(PYTHON) is " + sys.version.split()[0] + "; say PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --quiet --constraint constraints.txt --editable '.[standin,s3,postgres,mlflow-auth,infra,hdf5,faces,dev]'
	@touch $(STAMP)

# Debian packages of servers and tools, for `make chaos` alone; what cannot be installed, its tests do without.
setup-services:
	@SERVICES=$(SERVICES) sh .ci/services.sh

sweep: setup
	$(BIN)/orch sweep cmd-meld

test: setup
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

chaos: setup setup-services
	$(BIN)/python -m pytest tests/chaos

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup
	$(BIN)/python -m pytest -s tests/benchmarks

# Kubernetes on this machine, for the overlays `local` and `ci`; needs docker, kind, kubectl and helm.
kind:
	kind get clusters 2>/dev/null | grep -qx orch || kind create cluster --config infra/kind.yaml
	$(MAKE) operator

# KubeRay's operator, in the cluster that kubectl's current context names. Its rights are in namespace `orch` alone.
operator:
	kubectl get namespace orch >/dev/null 2>&1 || kubectl create namespace orch
	helm upgrade --install kuberay-operator kuberay-operator --version 1.7.0 \
		--repo https://ray-project.github.io/kuberay-helm/ \
		--namespace ray-system --create-namespace --values infra/helm/kuberay-operator.yaml --wait

# The CPU image, and into the cluster of `make kind` where there is one.
image:
	$(BUILD) --file infra/docker/Dockerfile.cpu --tag orch:$(VERSION)-cpu .
	! kind get clusters 2>/dev/null | grep -qx orch || kind load docker-image orch:$(VERSION)-cpu --name orch

# Both images to REGISTRY, e.g. REGISTRY=registry.example/team. The GPU image takes torch's CUDA build, so no PIP_CONF
# of CPU wheels.
push:
	@test -n "$(REGISTRY)" || { echo "say where to: make push REGISTRY=registry.example/team" >&2; exit 2; }
	$(MAKE) image
	docker build --file infra/docker/Dockerfile.gpu --tag orch:$(VERSION)-gpu .
	for kind in cpu gpu; do \
		docker tag orch:$(VERSION)-$$kind $(REGISTRY)/orch:$(VERSION)-$$kind \
		&& docker push $(REGISTRY)/orch:$(VERSION)-$$kind || exit 1; done

clean:
	rm -rf .venv
