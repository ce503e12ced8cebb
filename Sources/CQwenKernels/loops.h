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
#define QK_DEFINE(function, loop, parameters, arguments) QK_DEFINE_AS(, void, function, loop, parameters, arguments)
#define QK_DEFINE_VALUE(type, function, loop, parameters, arguments) \
  QK_DEFINE_AS(return, type, function, loop, parameters, arguments)

#if QK_X86
#define QK_DEFINE_AS(give, type, function, loop, parameters, arguments)   \
  static QK_AVX2 type loop##_avx2 parameters { give loop arguments; }     \
  static QK_AVX512 type loop##_avx512 parameters { give loop arguments; } \
  type function parameters {                                              \
    if (qk_isa() >= QK_ISA_AVX512) {                                      \
      give loop##_avx512 arguments;                                       \
    } else if (qk_isa() >= QK_ISA_AVX2) {                                 \
      give loop##_avx2 arguments;                                         \
    } else {                                                              \
      give loop arguments;                                                \
    }                                                                     \
  }
#else
#define QK_DEFINE_AS(give, type, function, loop, parameters, arguments) \
  type function parameters { give loop arguments; }
#endif

#endif
