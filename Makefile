# VAN: build, test, install. `make help` lists the targets.
.DEFAULT_GOAL := all
SHELL := /bin/bash
PREFIX ?= /usr/local
VERSION := 0.2.0
SAN ?=
comma := ,

# A sanitizer build (SAN=address,undefined or SAN=thread) lives beside the ordinary one.
B := build$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))

PKGS_LIB     := libsodium libconfig libcurl json-c
PKGS_VAND    := libmnl liburcu-qsbr libcrypto
PKGS_CONSOLE := libmicrohttpd sqlite3 gnutls
HAVE_IPSEC_MB := $(shell echo '\#include <intel-ipsec-mb.h>' | $(CC) -E - >/dev/null 2>&1 && echo 1)

WARN := -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes \
	-Wwrite-strings -Wvla -Wformat=2 -Wimplicit-fallthrough
# OpenSSF's hardening flags for C; CI adds -Werror.
HARDEN := -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection \
	-fcf-protection -fno-strict-overflow -fno-delete-null-pointer-checks
ifneq ($(SAN),)
HARDEN := -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all
endif
WERROR ?= $(if $(CI),-Werror)
OPT ?= -O2
CFLAGS ?= -g
ALL_CFLAGS := -std=gnu17 $(OPT) $(WARN) $(WERROR) $(HARDEN) -fPIE -pthread -I. -D_GNU_SOURCE \
	-DVAN_VERSION='"$(VERSION)"' $(if $(HAVE_IPSEC_MB),-DHAVE_IPSEC_MB=1) \
	-D_LGPL_SOURCE -DURCU_INLINE_SMALL_FUNCTIONS \
	$(shell pkg-config --cflags $(PKGS_LIB) $(PKGS_VAND) $(PKGS_CONSOLE) 2>/dev/null) $(CFLAGS)
ALL_LDFLAGS := -pie -pthread -Wl,-z,relro,-z,now,-z,noexecstack $(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)

LIBS_LIB     = $(shell pkg-config --libs $(PKGS_LIB))
LIBS_VAND    = $(LIBS_LIB) $(shell pkg-config --libs $(PKGS_VAND)) $(if $(HAVE_IPSEC_MB),-lIPSec_MB) -lm
LIBS_CONSOLE = $(LIBS_LIB) $(shell pkg-config --libs $(PKGS_CONSOLE))

objects = $(patsubst %.c,$(B)/%.o,$(wildcard $(1)/*.c))
LIB_OBJS     := $(call objects,lib)
VAND_OBJS    := $(call objects,vand)
VANCTL_OBJS  := $(call objects,vanctl)
CONSOLE_OBJS := $(call objects,console-api)
UNIT_TESTS   := $(patsubst %.c,$(B)/%,$(wildcard test/unit/test_*.c))
TOOLS        := $(patsubst %.c,$(B)/%,$(wildcard test/tools/*.c)) $(patsubst %.c,$(B)/%.so,$(wildcard test/tools/shim/*.c))

all: $(B)/vand/vand $(B)/vanctl/vanctl $(B)/console-api/console-api ## Build everything

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Each program is its main.o and an archive of the rest, which its unit tests link too.
$(B)/libvan.a: $(LIB_OBJS)
$(B)/libvand.a: $(filter-out %/main.o,$(VAND_OBJS))
$(B)/libvanctl.a: $(filter-out %/main.o,$(VANCTL_OBJS))
$(B)/libconsole.a: $(filter-out %/main.o,$(CONSOLE_OBJS))
$(B)/%.a:
	@rm -f $@
	ar rcsD $@ $^

$(B)/vand/vand: $(B)/vand/main.o $(B)/libvand.a $(B)/libvan.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_VAND)
$(B)/vanctl/vanctl: $(B)/vanctl/main.o $(B)/libvanctl.a $(B)/libvan.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_LIB)
$(B)/console-api/console-api: $(B)/console-api/main.o $(B)/libconsole.a $(B)/libvan.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_CONSOLE)

# A unit test is named test_lib_X, test_vand_X, test_vanctl_X or test_console_X.
$(B)/test/unit/test_lib_%: $(B)/test/unit/test_lib_%.o $(B)/libvan.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_LIB) -lcmocka
$(B)/test/unit/test_vand_%: $(B)/test/unit/test_vand_%.o $(B)/libvand.a $(B)/libvan.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_VAND) -lcmocka
$(B)/test/unit/test_vanctl_%: $(B)/test/unit/test_vanctl_%.o $(B)/libvanctl.a $(B)/libvan.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_LIB) -lcmocka
$(B)/test/unit/test_console_%: $(B)/test/unit/test_console_%.o $(B)/libconsole.a $(B)/libvan.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_CONSOLE) -lcmocka
$(B)/test/tools/%: $(B)/test/tools/%.o
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -lm
# netprobe: its subcommands are in a folder of their own.
$(B)/test/tools/netprobe: $(call objects,test/tools/probe)
# end of netprobe
# For LD_PRELOAD, in front of sanitized programs too: without a sanitizer of its own.
$(B)/test/tools/shim/%.so: test/tools/shim/%.c
	@mkdir -p $(@D)
	$(CC) $(filter-out -fPIE $(HARDEN),$(ALL_CFLAGS)) -fPIC -shared -o $@ $<
$(B)/test/tools/crowd: $(B)/test/tools/crowd.o $(B)/libvand.a $(B)/libvan.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_VAND)
# -- console-api: what it embeds, and the tool of its API tests --
$(B)/console-api/embed.o: console-api/openapi.json $(wildcard console-api/schema/*.sql)
$(B)/test/tools/agentcall: $(B)/test/tools/agentcall.o $(B)/libvan.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_LIB)
$(B)/test/tools/statsfill: $(B)/test/tools/statsfill.o $(B)/libconsole.a $(B)/libvan.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_CONSOLE)
$(B)/test/tools/agentload: $(B)/test/tools/agentload.o $(call objects,test/tools/load) $(B)/libvan.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_LIB) $(shell pkg-config --libs libssl libcrypto)
# -- end of console-api --
.PRECIOUS: $(B)/%.o
-include $(shell find $(B) -name '*.d' 2>/dev/null)

# -- tests, demo, installation
#
# `make demo` and `make check` are complete on a fresh Debian 12: they install what is missing and
# then call make again, because what stands above asks pkg-config and the compiler at its start.

PYTHON ?= /usr/bin/python3
CLANG_FORMAT ?= clang-format
CLANG_TIDY ?= clang-tidy
FUZZ_SECONDS ?= 60
NPROC := $(shell nproc 2>/dev/null || echo 1)
# For our own recursive calls only: a -j of the caller wins.
PARALLEL = $(if $(filter -j% --jobserver-auth%,$(MAKEFLAGS)),,-j$(NPROC))
AGAIN = @$(MAKE) --no-print-directory -s $(PARALLEL)

SAN_B := build/san-address-undefined
FUZZ_B := build/fuzz
COVERAGE_B := build/coverage
C_FILES = $(wildcard lib/*.[ch] vand/*.[ch] vanctl/*.[ch] console-api/*.[ch] test/unit/*.[ch] \
	test/tools/*.[ch] test/tools/*/*.[ch] test/fuzz/*.[ch] test/bench/*.[ch] test/vectors/*.[ch])
LINT_FILES = $(wildcard lib/*.c vand/*.c vanctl/*.c console-api/*.c test/tools/*.c test/tools/*/*.c test/bench/*.c)
SHELL_FILES = $(wildcard scripts/*.sh demo/*.sh test/*/*.sh) .ci/run
PYTHON_FILES = $(wildcard test/*/*.py clients/python/*/*.py)
FUZZERS := $(patsubst test/fuzz/%.c,%,$(wildcard test/fuzz/fuzz_*.c))

.PHONY: all deps deps-check demo demo-down check check-unit check-corpus check-api check-net \
	check-long build-tests lint format format-check fuzz coverage install uninstall clean help

deps: ## Install the Debian packages that building and the demo need
	@scripts/deps.sh build

deps-check: ## Install the Debian packages that the tests use
	@scripts/deps.sh test

demo: deps ## A console and three nodes on this machine, shown at work (KEEP=1 leaves them running)
	@echo "building…"
	$(AGAIN) all $(B)/test/tools/netprobe
	@BUILD=$(B) KEEP=$(KEEP) demo/demo.sh up

demo-down: ## Remove what `make demo KEEP=1` left running
	@demo/demo.sh down

build-tests: all $(UNIT_TESTS) $(TOOLS) $(B)/test/bench/micro

# The unit tests run a second time, and the corpora and the hostile-input tests only, in a build that
# finds undefined behaviour and memory errors. With SAN= everything runs once, in that build.
check: deps deps-check ## Everything that CI runs: unit, corpora, API and network tests (SAN=… for a sanitizer build)
	@echo "building…"
	$(AGAIN) build-tests
ifeq ($(SAN),)
	$(AGAIN) SAN=address,undefined build-tests
endif
	@MAKE='$(MAKE)' scripts/check.sh 'unit tests=-s;check-unit' \
		$(if $(SAN),,'unit tests with address and undefined behaviour sanitizers=-s;check-unit;SAN=address,undefined') \
		'fuzz corpora=-s;check-corpus' 'benchmarks=-s;check-bench' \
		'API tests=-s;check-api' 'network tests=-s;check-net'

check-unit: $(UNIT_TESTS) ## Unit tests (NOISE_VECTORS=FILE adds the published Noise vectors)
	@scripts/unit.sh $(UNIT_TESTS)

check-api: build-tests ## Tests of the REST interfaces against a real console-api, on SQLite and in part on etcd
	@BUILD=$(B) $(PYTHON) test/api/run.py --both

check-net: build-tests ## Network tests in namespaces; as root, with /dev/net/tun
	@$(if $(SAN),,$(MAKE) --no-print-directory -s SAN=address,undefined all)
	@BUILD=$(B) BUILD_SAN=$(if $(SAN),$(B),$(SAN_B)) $(PYTHON) test/net/run.py $(if $(K),-k '$(K)')

check-long: build-tests ## The long runs: idle NAT mappings and the like
	@BUILD=$(B) BUILD_SAN=$(B) $(PYTHON) test/net/run.py --long
	@BUILD=$(B) $(PYTHON) test/api/run.py -v --long
	@BUILD=$(B) $(PYTHON) test/api/run.py --etcd

# A fuzz target is test/fuzz/fuzz_NAME.c with LLVMFuzzerTestOneInput(); its corpus is
# test/fuzz/corpus/fuzz_NAME/. replay.c gives it a main() that runs the corpus. It is linked with the
# program whose headers it includes.
fuzz_uses = $(shell grep -l '^\#include "$(2)/' test/fuzz/$(notdir $(1)).c 2>/dev/null)
fuzz_libs = $(if $(call fuzz_uses,$(1),vand),$(B)/libvand.a) \
	$(if $(call fuzz_uses,$(1),vanctl),$(B)/libvanctl.a) \
	$(if $(call fuzz_uses,$(1),console-api),$(B)/libconsole.a) $(B)/libvan.a
FUZZ_LDLIBS = $(LIBS_VAND) $(shell pkg-config --libs $(PKGS_CONSOLE))
.SECONDEXPANSION:
$(B)/test/fuzz/fuzz_%: $(B)/test/fuzz/fuzz_%.o $$(if $$(FUZZ_MAIN),,$(B)/test/fuzz/replay.o) $$(call fuzz_libs,$$@)
	$(CC) $(ALL_LDFLAGS) $(FUZZ_MAIN) -o $@ $^ $(FUZZ_LDLIBS)

check-corpus: ## Replay the fuzz corpora with the address and undefined behaviour sanitizers
ifeq ($(SAN),)
	@$(MAKE) --no-print-directory -s SAN=address,undefined check-corpus
else
	@$(if $(FUZZERS),$(MAKE) --no-print-directory -s $(FUZZERS:%=$(B)/test/fuzz/%))
	@scripts/corpus.sh $(B)/test/fuzz $(FUZZERS)
endif

fuzz: ## Fuzz every target for FUZZ_SECONDS (60) each; finds are kept in build/fuzz/finds
	$(AGAIN) B=$(FUZZ_B) CC=clang SAN=fuzzer-no-link,address,undefined \
		FUZZ_MAIN=-fsanitize=fuzzer $(FUZZERS:%=$(FUZZ_B)/test/fuzz/%)
	@FUZZ_SECONDS=$(FUZZ_SECONDS) scripts/fuzz.sh $(FUZZ_B)/test/fuzz $(FUZZERS)

coverage: ## Line coverage of the unit tests, file by file
	$(AGAIN) B=$(COVERAGE_B) OPT=-O0 CFLAGS='-g --coverage' LDFLAGS=--coverage \
		HARDEN= $(UNIT_TESTS:$(B)/%=$(COVERAGE_B)/%)
	@scripts/coverage.sh $(COVERAGE_B) $(UNIT_TESTS:$(B)/%=$(COVERAGE_B)/%)

lint: deps-check ## cppcheck and clang-tidy, shellcheck, and Python's own compiler
	@CLANG_TIDY=$(CLANG_TIDY) scripts/lint.sh '$(filter-out -DVAN_VERSION=%,$(ALL_CFLAGS))' $(LINT_FILES)
	@shellcheck $(SHELL_FILES)
	@$(PYTHON) -c 'import sys, ast; [ast.parse(open(f, "rb").read(), f) for f in sys.argv[1:]]' $(PYTHON_FILES)
	@echo "lint: nothing to complain about"

format: ## Format all C files
	@$(CLANG_FORMAT) -i $(C_FILES)

format-check: ## Say which C files are not formatted
	@$(CLANG_FORMAT) --dry-run -Werror $(C_FILES)

# -- benchmarks (docs/performance.md)

.PHONY: check-bench deps-bench bench bench-apps bench-micro

check-bench: $(B)/test/bench/micro ## Test what the benchmarks do with figures; measures nothing
	@BUILD=$(B) $(PYTHON) test/bench/selftest.py

deps-bench: deps ## Install the Debian packages that the benchmarks compare VAN with
	@scripts/deps.sh bench

bench: deps-bench ## Measure VAN beside other tunnels; tables, JSON and a chart in build/bench (BENCH_…: docs/performance.md)
	@echo "building…"
	$(AGAIN) all $(B)/test/tools/netprobe
	@BUILD=$(B) $(PYTHON) test/bench/bench.py tunnels

bench-apps: deps-bench ## Measure redis and PostgreSQL across VAN, against their own TLS and no encryption
	@echo "building…"
	$(AGAIN) all $(B)/test/tools/netprobe
	@BUILD=$(B) $(PYTHON) test/bench/bench.py apps

bench-micro: deps ## Measure sealing, cutting, joining, look-ups, replay window and netmap by themselves
	@echo "building…"
	$(AGAIN) $(B)/test/bench/micro
	@mkdir -p $(B)/bench
	@$(B)/test/bench/micro -j $(B)/bench/micro.json

$(B)/test/bench/micro: $(call objects,test/bench) $(B)/libvand.a $(B)/libvan.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_VAND)
# -- end of benchmarks

SBINDIR = $(DESTDIR)$(PREFIX)/sbin
BINDIR = $(DESTDIR)$(PREFIX)/bin
MANDIR = $(DESTDIR)$(PREFIX)/share/man
UNITDIR = $(DESTDIR)$(if $(filter /usr,$(PREFIX)),/lib/systemd/system,/etc/systemd/system)
CONFDIR = $(DESTDIR)/etc/van
BASH_COMPLETIONS = $(DESTDIR)$(PREFIX)/share/bash-completion/completions
ZSH_COMPLETIONS = $(DESTDIR)$(PREFIX)/share/zsh/site-functions
MAN_PAGES = $(wildcard man/*.[1-8])
UNITS = $(wildcard systemd/*.service)
CONFS = $(patsubst etc/%.example,%,$(wildcard etc/*.conf.example))

install: all ## Install under PREFIX (/usr/local), for a package under DESTDIR; keeps existing configuration
	install -d $(SBINDIR) $(BINDIR) $(UNITDIR) $(BASH_COMPLETIONS) $(ZSH_COMPLETIONS)
	install -d -m 755 $(CONFDIR)
	install -m 755 $(B)/vand/vand $(B)/console-api/console-api $(SBINDIR)
	install -m 755 $(B)/vanctl/vanctl $(BINDIR)
	$(foreach u,$(UNITS),sed 's|/usr/local/sbin|$(PREFIX)/sbin|g' $(u) >$(UNITDIR)/$(notdir $(u)) &&) :
	$(foreach c,$(CONFS),{ [ -e $(CONFDIR)/$(c) ] || install -m 644 etc/$(c).example $(CONFDIR)/$(c); } &&) :
	$(foreach m,$(MAN_PAGES),install -D -m 644 $(m) $(MANDIR)/man$(subst .,,$(suffix $(m)))/$(notdir $(m)) &&) :
	$(B)/vanctl/vanctl completion bash >$(BASH_COMPLETIONS)/vanctl
	$(B)/vanctl/vanctl completion zsh >$(ZSH_COMPLETIONS)/_vanctl

uninstall: ## Remove what install put there; leaves /etc/van and the state
	rm -f $(SBINDIR)/vand $(SBINDIR)/console-api $(BINDIR)/vanctl
	rm -f $(BASH_COMPLETIONS)/vanctl $(ZSH_COMPLETIONS)/_vanctl
	$(foreach u,$(UNITS),rm -f $(UNITDIR)/$(notdir $(u)) &&) :
	$(foreach m,$(MAN_PAGES),rm -f $(MANDIR)/man$(subst .,,$(suffix $(m)))/$(notdir $(m)) &&) :

clean: ## Remove everything that was built
	rm -rf build

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | sort | \
		awk -F '\t' '{printf "  make %-14s %s\n", $$1, $$2}'
