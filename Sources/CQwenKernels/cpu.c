#define _GNU_SOURCE
#include <sched.h>

// The instruction set in force.
#include "isa.h"

_Atomic int32_t qk_isa_word = -1;

static int32_t best(void) {
#if QK_X86
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
      !__builtin_cpu_supports("f16c")) {
    return QK_ISA_SCALAR;
  }
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512vnni")) {
    return QK_ISA_AVX512;
  }
  return QK_ISA_AVX2;
#else
  return QK_ISA_SCALAR;
#endif
}

int32_t qk_cpu_isa(void) {
  int32_t isa = atomic_load_explicit(&qk_isa_word, memory_order_relaxed);
  if (isa < 0) {
    isa = best();
    atomic_store_explicit(&qk_isa_word, isa, memory_order_relaxed);
  }
  return isa;
}

int32_t qk_cpu_force(int32_t isa) {
  const int32_t most = best();
  const int32_t now = isa < 0 || isa > most ? most : isa;
  atomic_store_explicit(&qk_isa_word, now, memory_order_relaxed);
  return now;
}

int32_t qk_processor_count(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  int count = CPU_COUNT(&set);
  return count < 1 ? 1 : count;
}
