#!/usr/bin/env bash
# Holds a built library against include/qwen.h: run.sh LIBRARY [MODEL]
# Prints one ok or FAIL line a check; exit code 1 if any failed. Without MODEL the chats are left out.
set -u
[ $# -ge 1 ] || { echo "usage: run.sh LIBRARY [MODEL]" >&2; exit 2; }
library=$(realpath "$1") || exit 2
model=${2:+$(realpath "$2")}
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
failures=0
CC=${CC:-cc}
CXX=${CXX:-c++}

ok() { echo "ok   $*"; }
fail() { echo "FAIL $*"; failures=$((failures + 1)); }
# holds NAME COMMAND...: the command's exit code decides; its output is shown when it fails.
holds() {
  local name=$1 said
  shift
  if said=$("$@" 2>&1); then ok "$name"; else fail "$name"; printf '%s\n' "$said" | sed 's/^/     /'; fi
}

# ---- The header alone ----
printf '#include "qwen.h"\nint main(void) { return (int)sizeof(qwen_event) == 0; }\n' >"$work/header.c"
cp "$work/header.c" "$work/header.cc"
for standard in c99 c11 c17; do
  holds "header in strict $standard" \
    "$CC" -std=$standard -Wall -Wextra -Wpedantic -Werror -Wstrict-prototypes -fsyntax-only -I"$root/include" "$work/header.c"
done
for standard in c++11 c++17; do
  holds "header in strict $standard" \
    "$CXX" -std=$standard -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I"$root/include" "$work/header.cc"
done

# ---- The file ----
# Functions declared in the header: a name before an opening parenthesis outside comments and typedefs.
"$CC" -E -P -I"$root/include" "$work/header.c" | tr '\n' ' ' | tr ';' '\n' | grep -v typedef |
  grep -oE '\bqwen_[a-z_]+ *\(' | tr -d ' (' | sort -u >"$work/declared"
nm -D --defined-only "$library" | awk '$2 ~ /[A-Z]/ && $2 != "A" { print $3 }' | sed 's/@.*//' | sort -u >"$work/exported"
holds "exported functions are those of the header ($(wc -l <"$work/declared"))" diff "$work/declared" "$work/exported"

dynamic=$(readelf -dW "$library")
needed=$(sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' <<<"$dynamic")
strange=$(grep -vE '^(libc|libm|libjansson|libstdc\+\+|libgcc_s|libpthread|libdl)\.so\.[0-9]+$|^ld-linux' <<<"$needed")
[ -z "$strange" ] && ok "needs only" $needed || fail "needs $strange"
soname=$(sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p' <<<"$dynamic")
[ "$soname" = libqwen.so.0 ] && ok "SONAME is $soname" || fail "SONAME is '$soname'"
runpath=$(sed -nE 's/.*\((RUNPATH|RPATH)\).*\[(.*)\]/\2/p' <<<"$dynamic")
[ -z "${runpath//\$ORIGIN/}" ] && ok "RUNPATH is '$runpath'" || fail "RUNPATH is '$runpath'"
grep -qE 'BIND_NOW|FLAGS.*NOW' <<<"$dynamic" && ok "symbols are bound at load" || fail "not linked with -z now"
grep -q NODELETE <<<"$dynamic" && ok "stays loaded" || fail "not linked with -z nodelete"
grep -q TEXTREL <<<"$dynamic" && fail "has text relocations" || ok "no text relocations"
segments=$(readelf -lW "$library")
grep -q GNU_RELRO <<<"$segments" && ok "relocations are read-only" || fail "no RELRO"
grep -E 'GNU_STACK' <<<"$segments" | grep -q 'RWE' && fail "executable stack" || ok "no executable stack"
newest=$(objdump -T "$library" | grep -oE 'GLIBC_2\.[0-9]+' | sort -uV | tail -1)
[ "${newest#GLIBC_2.}" -le 34 ] && ok "asks for $newest" || fail "asks for $newest; at most GLIBC_2.34 is promised"

# ---- The programs ----
ln -s "$library" "$work/libqwen.so"
ln -s "$library" "$work/libqwen.so.0"
flags="-std=c99 -D_GNU_SOURCE -O1 -g -Wall -Wextra -Wpedantic -Werror -I$root/include"
jansson=$(pkg-config --cflags --libs jansson)

# program NAME LINK ARGUMENTS...: builds Tests/ContractTests/NAME.c and runs it with a limit.
program() {
  local name=$1 link=$2
  shift 2
  # shellcheck disable=SC2086
  if ! "$CC" $flags -o "$work/$name" "$root/Tests/ContractTests/$name.c" $link $jansson -lpthread -ldl -lm; then
    fail "$name.c compiles"
    return
  fi
  LD_PRELOAD=${preload:-} timeout 300 "$work/$name" "$@"
  local code=$?
  [ $code -eq 0 ] || failures=$((failures + 1))
  [ $code -le 1 ] || echo "FAIL $name ended with code $code"
}

linked="-L$work -lqwen -Wl,-rpath,$work"
echo "# arguments"
program arguments "$linked" "$work"
echo "# hygiene"
unset SWIFT_ROOT SWIFT_BACKTRACE
program hygiene "" "$library" "$work" ${model:+"$model"}
echo "# hygiene where the Swift runtime finds its crash reporter"
SWIFT_ROOT=$(dirname "$(dirname "$(realpath "$(command -v swift || echo /usr/bin/swift)")")")
export SWIFT_ROOT SWIFT_BACKTRACE=enable=yes
program hygiene "" "$library" "$work" ${model:+"$model"}
unset SWIFT_ROOT
export SWIFT_BACKTRACE=enable=no
if [ -n "$model" ]; then
  for name in requests turns tools cancel sessions batches; do
    echo "# $name"
    program $name "$linked" "$model" "$work"
  done
  echo "# system calls"
  program syscalls "$linked" "$model"
  echo "# threads of the host"
  parallel=-fopenmp
  echo 'int main(void) { return 0; }' >"$work/omp.c"
  "$CC" -fopenmp -o "$work/omp" "$work/omp.c" 2>/dev/null || parallel=
  blas=$(pkg-config --cflags --libs openblas | sed 's/-I/-isystem /g')
  OMP_WAIT_POLICY=active OMP_NUM_THREADS=2 program host_threads "$linked $parallel $blas" "$model"
  echo "# allocations"
  "$CC" -shared -fPIC -O1 -o "$work/count_malloc.so" "$root/Tests/ContractTests/count_malloc.c" || fail "count_malloc.c compiles"
  preload="$work/count_malloc.so"
  program allocations "$linked" "$model"
  preload=
  echo "# no memory"
  "$CC" -shared -fPIC -O1 -o "$work/refuse_malloc.so" "$root/Tests/ContractTests/refuse_malloc.c" || fail "refuse_malloc.c compiles"
  preload="$work/refuse_malloc.so"
  program no_memory "$linked" "$root/Tests/Fixtures/tiny/qwen-ntk" "$work" 120
  program no_memory "$linked" "$root/Tests/Fixtures/tiny/llama-gguf-q4/model.gguf" "$work" 60
  preload=
else
  echo "# no model given: requests, turns, tools, cancel, sessions and batches are left out"
fi
[ $failures -eq 0 ]
