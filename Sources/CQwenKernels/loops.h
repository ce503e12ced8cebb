// Functions that the compiler turns into vectors of each instruction set by itself.
#ifndef QK_LOOPS_H
#define QK_LOOPS_H

#include "isa.h"

// Before a loop of which results may lie where arguments do, at the same places: calls in place would go one element at a
// time otherwise.
#if defined(__clang__)
#define QK_LANES _Pragma("clang loop vectorize(assume_safety)")
#else
#define QK_LANES _Pragma("GCC ivdep")
#endif

// A function from its loop: on x86-64 by the set in force, elsewhere with what the compiler may use.
#if QK_X86
#define QK_DEFINE(function, loop, parameters, arguments)             \
  static QK_AVX2 void loop##_avx2 parameters { loop arguments; }     \
  static QK_AVX512 void loop##_avx512 parameters { loop arguments; } \
  void function parameters {                                         \
    if (qk_isa() >= QK_ISA_AVX512) {                                 \
      loop##_avx512 arguments;                                       \
    } else if (qk_isa() >= QK_ISA_AVX2) {                            \
      loop##_avx2 arguments;                                         \
    } else {                                                         \
      loop arguments;                                                \
    }                                                                \
  }
#else
#define QK_DEFINE(function, loop, parameters, arguments) \
  void function parameters { loop arguments; }
#endif

#endif
