#!/usr/bin/env bash
# Builds kernel_check.c and runs it on every instruction set within reach: kernel_check.sh [OBJECTS]
# Those of this processor, those of older x86-64 ones and of aarch64 without dotprod, with it and with i8mm in
# emulators. CLANG is the compiler (clang); its flags are those of Package.swift. OBJECTS are kernels that are built for
# this processor already.
# Prints what ran; exit code 1 if anything failed.
set -u
cd "$(dirname "$0")/../.." || exit 2
CLANG=${CLANG:-clang}
built=${1:-}
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
failures=0

# compile TARGET FOLDER FILE...: objects of C files.
compile() {
  local target=$1 folder=$2
  shift 2
  mkdir -p "$folder"
  printf '%s\n' "$@" |
    xargs -P "$(nproc)" -I{} sh -c \
      '"$0" --target="$1" -O3 -fno-math-errno -Wall -Wextra -Werror -ISources/CQwenKernels/include -c "$3" -o "$2/$(basename "$3").o"' \
      "$CLANG" "$target" "$folder" {}
}

# build NAME TARGET FLAGS...: the program $work/NAME.
build() {
  local name=$1 target=$2 objects="$work/$1.o"
  shift 2
  if [ "$name" = native ] && [ -n "$built" ]; then objects=$built; else compile "$target" "$objects" Sources/CQwenKernels/*.c || return 1; fi
  compile "$target" "$work/$name.check" Tests/Tools/kernel_check.c &&
    "$CLANG" --target="$target" "$@" "$work/$name.check"/*.o "$objects"/*.o -lm -o "$work/$name"
}

# check NAME COMMAND...
check() {
  local name=$1 said
  shift
  if said=$("$@" 2>"$work/errors"); then
    echo "ok   $name: $(head -1 <<<"$said")"
  else
    printf 'FAIL %s\n%s\n%s\n' "$name" "$said" "$(tail -5 "$work/errors")"
    failures=$((failures + 1))
  fi
}

machine=$(uname -m)
build native "$machine-linux-gnu" || exit 1
check "this processor" "$work/native"
[ "$machine" = x86_64 ] || exit $((failures != 0))
for cpu in Haswell Westmere; do check "$cpu" qemu-x86_64 -cpu $cpu "$work/native"; done
build arm aarch64-linux-gnu -static -fuse-ld=lld || exit 1
for cpu in cortex-a53 neoverse-n1 max; do check "aarch64, $cpu" qemu-aarch64 -cpu $cpu "$work/arm"; done
exit $((failures != 0))
