#!/usr/bin/env bash
# The same answers on a processor without AVX: old_cpu.sh COMMAND FIXTURES, through qemu-user (Westmere).
# Prints one ok or FAIL line a model; exit code 1 if any failed.
set -u
[ $# -eq 2 ] || { echo "usage: old_cpu.sh COMMAND FIXTURES" >&2; exit 2; }
command=$1
failures=0
for model in "$2"/*/; do
  model=${model%/}
  file=$(find "$model" -name '*.gguf' | head -1)
  for compute in auto float32 bfloat16; do
    arguments=(generate "${file:-$model}" "Hello, 世界 123" --max-new-tokens 12 --do-sample false --stop-ids '[]' --threads 1 --compute "$compute")
    native=$("$command" "${arguments[@]}" 2>&1 | tr -d "\0")
    old=$(qemu-x86_64 -cpu Westmere "$command" "${arguments[@]}" 2>&1 | tr -d "\0")
    if [ -n "$native" ] && [ "$native" = "$old" ]; then
      echo "ok   $(basename "$model") $compute"
    else
      echo "FAIL $(basename "$model") $compute: '$old', natively '$native'"
      failures=$((failures + 1))
    fi
  done
done
[ $failures -eq 0 ]
