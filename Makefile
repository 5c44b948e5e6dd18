# SPDX-License-Identifier: GPL-2.0
#
# Device-exclusive memory for Linux 5.10: lay out, build, boot, test.

# What a user may want to set, on the command line or in the environment.
CONFIG ?= small#	kernel: small, or debug (KASAN, lockdep, ...)
LINUX ?=#		a git tree of your own, of 5.10.y, instead of the base
SRC ?=#		a kernel tree to build as it stands, without the series
BASE_TARBALL ?=#	the base, if it is not to be downloaded
ACCEL ?= tcg#	tcg, icount (one CPU, instructions counted), kvm, auto (kvm if it works)
BENCH ?=#		quick: a benchmark of less than a minute
BENCH_PEER ?=#	a built later kernel to put beside ours in the benchmark
JOBS ?= $(shell nproc)#	how many compilers at a time
CCACHE ?= auto#	no: do not use ccache even if it is there
REPEAT ?=#		how many times each test of a boot is run
STALL ?=#		seconds without console output before a guest is ended
TIMEOUT ?=#		seconds before a guest is ended
SECONDS ?=#		how long torture and fuzzer go on, each
SEED ?=#		their random numbers; they say which they took
KCONFIG ?= /boot/config-$(shell uname -r)#	the configuration that make deb starts from
KDIR ?= /lib/modules/$(shell uname -r)/build#	the kernel to build nouveau against
TOPICS ?=#	only these topics of the series, in a tree of its own: 1-4, or 1,2
MUTANTS ?=#		the names of mutants to try; check are those of make check
AREA ?=#		or a file of them in tools/testing/qemu/mutants
TESTS ?= hmm#	what make run runs: a file in tools/testing/qemu/scenarios

export CONFIG LINUX SRC BASE_TARBALL ACCEL BENCH BENCH_PEER JOBS CCACHE REPEAT STALL TIMEOUT SEED TOPICS MUTANTS AREA

# To a shell that is bash, SECONDS is a clock.
export RUN_SECONDS = $(strip $(SECONDS))
unexport SECONDS

# What is for one target only, and to be checked before anything is done for it.
unexport TESTS KDIR KCONFIG
run shell: export TESTS := $(strip $(TESTS))
nouveau: export KDIR := $(KDIR)
deb: export KCONFIG := $(KCONFIG)
shell: export SHELL_ONLY := y

# What scripts tell each other, and what a shell, a hook or a rebase has set for itself.
unexport TREE OBJS FOLDER MODULES CDPATH $(shell git rev-parse --local-env-vars 2>/dev/null)

qemu := tools/testing/qemu

.PHONY: help run torture shell kunit bench check tree kernel lint bisect-check series refresh deps clean
.PHONY: nouveau dkms-install deb mutants settings
.DEFAULT_GOAL := help

help:		## this list
	@echo "Targets:"
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1	/p' Makefile | expand -t16 | sed 's/^/  /'
	@echo "Variables:"
	@sed -n 's/^\([A-Z_]*\) ?= *\(.*\)#	*/\1	/p' Makefile | expand -t16 | sed 's/^/  /'

run: kernel	## patch, build, boot and test (TESTS=...); ends with a verdict
	@$(qemu)/run "$$TESTS"

torture: CONFIG = debug
torture: kernel	## torture and fuzzer for SECONDS= each, on the debug kernel
	@$(qemu)/run torture

tree:	deps	## lay out the patched kernel source in build/linux (TOPICS=: in build/topics-...)
	@scripts/tree

kernel: tree	## build it (CONFIG=small or debug)
	@scripts/kernel

shell: kernel	## a shell in the patched kernel, with what TESTS loads and runs
	@$(qemu)/run "$$TESTS"

kunit: kernel	## the KUnit suites built into the kernel, judged by kunit.py
	@scripts/kunit

mutants: kernel	## break the kernel in many small ways, one at a time: do the tests see it?
	@scripts/mutants

bench: tree	## what it costs, by counting instructions, against the base; limits
	@scripts/bench

check: deps	## everything that can fail, on both kernels; ends with a count
	@scripts/check

lint: tree	## checkpatch, sparse, W=1, kernel-doc, ...: nothing new against the base
	@scripts/lint

bisect-check: deps	## every prefix of the series builds, options on and off
	@TOPICS= scripts/tree
	@scripts/bisect-check

nouveau: deps	## nouveau.ko, out of tree, against the kernel in KDIR
	@scripts/nouveau "$$KDIR"

dkms-install:	## add nouveau to DKMS and install it for the running kernel
	@scripts/nouveau --dkms

deb: tree	## Debian packages of the patched kernel, for a real machine, in build/deb
	@scripts/deb

series:		## list the patches by topic, and how build/linux stands to them
	@scripts/series

refresh:	## make the commits in build/linux (or SRC=) the series
	@scripts/refresh

settings:
	@scripts/settings

deps: settings	## install what is missing here, or say what
	@scripts/deps

clean:		## remove what was built (not build/linux, nor what was downloaded)
	@scripts/clean
