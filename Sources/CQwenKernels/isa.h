// Which instruction set a call uses, and the marks of functions compiled for one.
#ifndef QK_ISA_H
#define QK_ISA_H

#include "include/CQwenKernels.h"

#include <stdatomic.h>

#if defined(__x86_64__)
#define QK_X86 1
#include <immintrin.h>
#define QK_AVX2 __attribute__((target("avx2,fma,f16c")))
#define QK_AVX512 __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#else
#define QK_X86 0
#endif
#if defined(__aarch64__)
#define QK_ARM 1
#include <arm_neon.h>
#else
#define QK_ARM 0
#endif

#if defined(__clang__)
#define QK_UNROLL _Pragma("clang loop unroll(full)")
#else
#define QK_UNROLL _Pragma("GCC unroll 32")
#endif

// Loops over parts that are alike stay loops: the processor's own prefetching follows an instruction that reads on and on, and
// loses the thread where a block of 256 has been written out as hundreds of them.
#if defined(__clang__)
#define QK_ROLLED _Pragma("clang loop unroll(disable)")
#else
#define QK_ROLLED _Pragma("GCC unroll 1")
#endif

#define QK_INLINE static inline __attribute__((always_inline))

// Products and sums are fused only where the code says so: all twins round alike.
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

// The set in force; negative before the first question.
extern _Atomic int32_t qk_isa_word;

QK_INLINE int32_t qk_isa(void) {
  const int32_t isa = atomic_load_explicit(&qk_isa_word, memory_order_relaxed);
  return isa >= 0 ? isa : qk_cpu_isa();
}

#endif
