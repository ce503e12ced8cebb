// The instruction set in force.
#include "isa.h"

#include <stdlib.h>
#include <string.h>

#if QK_X86
#include <cpuid.h>
#elif QK_ARM
#include <sys/auxv.h>
#endif

_Atomic int32_t qk_isa_word = -1;

#if QK_X86
// A bit of leaf 7, subleaf 1, register A.
static int has_extension(int bit) {
  uint32_t a, b, c, d;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> bit & 1);
}

static int has(int32_t isa) {
  __builtin_cpu_init();
  if (isa == QK_ISA_SCALAR) return 1;
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
      !__builtin_cpu_supports("f16c")) {
    return 0;
  }
  switch (isa) {
  case QK_ISA_AVX512BF16: return has(QK_ISA_AVX512) && has_extension(5);
  case QK_ISA_AVX512:
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
  case QK_ISA_AVXVNNI: return has_extension(4);
  default: return 1;
  }
}
#elif QK_ARM
static int has(int32_t isa) {
  enum { DOT = 1 << 20, I8MM = 1 << 13 }; // HWCAP_ASIMDDP, HWCAP2_I8MM
  if (isa <= QK_ISA_NEON) return 1;
  if (isa > QK_ISA_NEON_I8MM) return 0;
  const int has_dot = (getauxval(AT_HWCAP) & DOT) != 0;
  return isa == QK_ISA_NEON_DOT ? has_dot : has_dot && (getauxval(AT_HWCAP2) & I8MM);
}
#else
static int has(int32_t isa) { return isa == QK_ISA_SCALAR; }
#endif

// The best set up to this one that the processor has.
static int32_t best(int32_t most) {
  while (!has(most)) most--;
  return most;
}

int32_t qk_cpu_asked(void) {
  const char *const name = getenv("LIBQWEN_ISA");
  if (!name || !*name) return QK_ISA_COUNT - 1;
  int32_t isa = QK_ISA_COUNT - 1;
  while (isa >= 0 && strcmp(name, qk_cpu_name(isa)) != 0) isa--;
  return isa;
}

int32_t qk_cpu_isa(void) {
  int32_t isa = atomic_load_explicit(&qk_isa_word, memory_order_relaxed);
  if (isa < 0) {
    const int32_t asked = qk_cpu_asked();
    isa = best(asked < 0 ? QK_ISA_COUNT - 1 : asked);
    atomic_store_explicit(&qk_isa_word, isa, memory_order_relaxed);
  }
  return isa;
}

const char *qk_cpu_name(int32_t isa) {
  static const char *const x86[QK_ISA_COUNT] = {"scalar", "avx2", "avxvnni", "avx512", "avx512bf16"};
  static const char *const arm[QK_ISA_COUNT] = {"scalar", "neon", "neondot", "neoni8mm", ""};
  return isa >= 0 && isa < QK_ISA_COUNT ? (QK_ARM ? arm : x86)[isa] : "";
}

int32_t qk_cpu_force(int32_t isa) {
  const int32_t now = best(isa < 0 || isa >= QK_ISA_COUNT ? QK_ISA_COUNT - 1 : isa);
  atomic_store_explicit(&qk_isa_word, now, memory_order_relaxed);
  return now;
}
