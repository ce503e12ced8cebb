# make            release build: build/lib/libqwen.so, build/bin/qwen
# make demo       installs what is missing, builds, fetches a small model, prints a streamed reply
# make test       every test; needs the network for the small model and the Qwen vocabulary (PyPI)
# make lint       formatting, file lengths, imports
# make fuzz       FUZZ_SECONDS=600 of damaged files and requests
# make install    PREFIX=/usr/local DESTDIR=
PREFIX ?= /usr/local
VERSION := 0.1.0
SMOLLM2 := .cache/SmolLM2-135M-Instruct.Q4_1.gguf
TIKTOKEN := .cache/qwen.tiktoken
# Where nobody sees them, warnings are errors.
STRICT := $(if $(CI),-Xswiftc -warnings-as-errors)
SWIFT_BUILD := swift build -c release $(STRICT) -Xlinker --version-script=$(CURDIR)/exports.map
export SWIFT_BACKTRACE := enable=no

FUZZ_SECONDS ?= 600
PYTHON := $(CURDIR)/.cache/venv/bin/python
WITH_LIBRARY := LIBQWEN_LIBRARY=$(CURDIR)/build/lib/libqwen.so LIBQWEN_SMOLLM2=$(CURDIR)/$(SMOLLM2)

.PHONY: all packages models demo test swift-test contract-test kernel-test python-test model-test fuzz lint bench install clean

all:
	$(SWIFT_BUILD) --product qwen
	$(SWIFT_BUILD) --product qwen-command
	mkdir -p build/lib build/bin
	cp --remove-destination .build/release/libqwen.so build/lib/libqwen.so.$(VERSION)
	ln -sf libqwen.so.$(VERSION) build/lib/libqwen.so.0
	ln -sf libqwen.so.0 build/lib/libqwen.so
	cp --remove-destination .build/release/qwen-command build/bin/qwen

packages:
	Tests/Tools/packages.sh

$(SMOLLM2) $(TIKTOKEN): | .cache
	Tests/Tools/fetch.sh
.cache:
	mkdir -p .cache
models: $(SMOLLM2) $(TIKTOKEN)

demo: packages all models
	build/bin/qwen chat $(SMOLLM2) "Explain in one sentence why the sky is blue."

CASES := .cache/tokenizer-cases
$(CASES)/smollm2.cases: Tests/Tools/tokenizer_cases.py Tests/Tools/tokenizer_texts.py .cache/venv/bin/pytest | models
	$(PYTHON) Tests/Tools/tokenizer_cases.py write $(CASES) --tiktoken $(TIKTOKEN) --gguf $(SMOLLM2)

swift-test: models $(CASES)/smollm2.cases
	LIBQWEN_SMOLLM2=$(CURDIR)/$(SMOLLM2) LIBQWEN_TIKTOKEN=$(CURDIR)/$(TIKTOKEN) \
	  LIBQWEN_TOKENIZER_CASES=$(CURDIR)/$(CASES) swift test $(STRICT)

contract-test: all models
	Tests/ContractTests/run.sh build/lib/libqwen.so $(SMOLLM2)
	Tests/ContractTests/old_cpu.sh build/bin/qwen Tests/Fixtures/tiny

.cache/venv/bin/pytest: Tests/Tools/requirements.txt Tests/Tools/requirements-integrations.txt | .cache
	python3 -m venv .cache/venv
	.cache/venv/bin/pip install --quiet -r Tests/Tools/requirements.txt -r Tests/Tools/requirements-integrations.txt
	touch $@

kernel-test: all
	Tests/Tools/kernel_check.sh .build/release/CQwenKernels.build

python-test: all models .cache/venv/bin/pytest
	cd bindings/python && $(WITH_LIBRARY) $(PYTHON) -m pytest -q

model-test: all models .cache/venv/bin/pytest
	$(WITH_LIBRARY) $(PYTHON) -m pytest -q -rs Tests/ModelTests

build/fuzz: Tests/Fuzz/fuzz.c Tests/Fuzz/mutate.c Tests/Fuzz/mutate.h include/qwen.h | all
	cc -std=c11 -O1 -g -Wall -Wextra -Werror -Iinclude -o $@ Tests/Fuzz/fuzz.c Tests/Fuzz/mutate.c \
	  -Lbuild/lib -lqwen -Wl,-rpath,$(CURDIR)/build/lib

fuzz: all build/fuzz
	build/fuzz Tests/Fixtures/tiny $(FUZZ_SECONDS)

lint:
	Tests/Tools/lint.sh

test: lint swift-test contract-test kernel-test python-test model-test
	$(MAKE) fuzz FUZZ_SECONDS=60

bench: all models
	build/bin/qwen bench $(SMOLLM2) --prompt 512 --generate 64 --json

install: all
	install -d "$(DESTDIR)$(PREFIX)/lib/pkgconfig" "$(DESTDIR)$(PREFIX)/include" "$(DESTDIR)$(PREFIX)/bin"
	install -m 755 build/lib/libqwen.so.$(VERSION) "$(DESTDIR)$(PREFIX)/lib/"
	ln -sf libqwen.so.$(VERSION) "$(DESTDIR)$(PREFIX)/lib/libqwen.so.0"
	ln -sf libqwen.so.0 "$(DESTDIR)$(PREFIX)/lib/libqwen.so"
	install -m 644 include/qwen.h "$(DESTDIR)$(PREFIX)/include/"
	install -m 755 build/bin/qwen "$(DESTDIR)$(PREFIX)/bin/"
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' libqwen.pc.in \
	  > "$(DESTDIR)$(PREFIX)/lib/pkgconfig/libqwen.pc"

clean:
	rm -rf .build build
