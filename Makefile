# make report   the demo scale, from nothing to reports/demo/index.html; SCALE=demo-all is that of params/demo-all.yaml
# make redraw   a report that is kept in the repository, its tables and figures from its numbers: SCALE=<scale>
# make test     all tests but the slow
# make test-slow  demo-all cut down, every step of it run; runs that are killed, runs of two processes, the kept report drawn again
# make test-slurm  jobs on a real Slurm, which it starts, and what goes wrong there: half an hour, root only; ONLY='-k squeue' takes a part
# make lint     style of Python and Snakemake files
# The environment, .venv, is made on the way: exactly requirements.lock, then this project.

run = PATH="$(CURDIR)/.venv/bin:$$PATH"

SCALE ?= demo
ifeq ($(wildcard params/$(SCALE).yaml),)
scales := $(sort $(patsubst params/%.yaml,%,$(shell grep -l "^scale:" params/*.yaml)))
$(error params/$(SCALE).yaml: no such file; SCALE is one of: $(scales))
endif

.PHONY: report redraw test test-slow test-slurm lint

report: .venv/ready
	@echo "snakemake --cores all --configfile params/$(SCALE).yaml"
	@trap "interrupted=1" INT; $(run) snakemake --cores all --configfile params/$(SCALE).yaml || test "$$interrupted"

redraw: .venv/ready
	@test -d reports/$(SCALE)/published || { echo "reports/$(SCALE)/published: no such folder; SCALE is one of those that are kept"; exit 1; }
	cp -R reports/$(SCALE)/published/. .
	@# Of one age, or an array that was copied before its data set's list would be made again.
	(cd reports/$(SCALE)/published && find . -type f -print0) | xargs -0 touch -d 2000-01-01
	(cd reports/$(SCALE)/published && find . -name '*.gz' -print0) | xargs -0 --no-run-if-empty gunzip --force
	@# Data sets that are on this machine may be others than those of the report: they are not looked at.
	env $(patsubst %,-u %_ROOT,IMAGENET ADE20K COCO FOOD101 CLIPART SKETCH) $(run) snakemake report --cores all --configfile params/$(SCALE).yaml

test: .venv/ready
	$(run) pytest -n 2 --dist loadfile --no-loadscope-reorder

test-slow: .venv/ready
	$(run) pytest -n 2 --dist loadfile -m slow

test-slurm: .venv/ready
	$(run) pytest -n 0 -m slurm tests/slurm $(ONLY)

lint: .venv/ready
	$(run) ruff check .
	$(run) ruff format --check .
	$(run) snakefmt --check Snakefile workflow
	@# Its wish for a conda environment or a container of each rule aside: one environment runs all.
	! $(run) snakemake --lint 2>&1 | grep -E '^ +\* |Error' | grep -v 'Specify a conda environment or container'

.venv/ready: requirements.lock pyproject.toml
	@python3 -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "python3 is %d.%d; Python 3.11 or later is needed" % v[:2])'
	python3 -m venv .venv
	.venv/bin/python -m pip install --disable-pip-version-check --requirement requirements.lock
	.venv/bin/python -m pip install --disable-pip-version-check --no-deps --editable .
	@touch $@
