// Sizes of FP8 blocks and the fast twins of their product.
#ifndef QK_FP8_H
#define QK_FP8_H

#include "twins.h"

enum { QK_FP8_BLOCK = 128, QK_FP8_BYTES = 132 };

#if QK_X86
qk_float_matmul qk_fp8_matmul_avx2, qk_fp8_matmul_avx512;
#elif QK_ARM
qk_float_matmul qk_fp8_matmul_neon;
#endif

#endif
