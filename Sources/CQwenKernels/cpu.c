#include "internal.h"

#include <stdatomic.h>

// -1 until it was asked for the first time.
static _Atomic int32_t current = -1;

static int32_t best(void) {
#if QK_X86
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")) {
    return QK_ISA_AVX2;
  }
#endif
  return QK_ISA_SCALAR;
}

int32_t qk_cpu_isa(void) {
  int32_t isa = atomic_load_explicit(&current, memory_order_relaxed);
  if (isa >= 0) return isa;
  isa = best();
  atomic_store_explicit(&current, isa, memory_order_relaxed);
  return isa;
}

int32_t qk_cpu_force(int32_t isa) {
  int32_t most = best();
  int32_t chosen = isa < 0 || isa > most ? most : isa;
  atomic_store_explicit(&current, chosen, memory_order_relaxed);
  return chosen;
}
