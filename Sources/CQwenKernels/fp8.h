// Sizes of FP8 blocks and the fast twins of their product.
#ifndef QK_FP8_H
#define QK_FP8_H

#include "twins.h"

// A byte's bits, moved, are those of a float 2^120 too small: subnormal ones, too. That no product of it and an activation
// is so small that bits get lost, activations are multiplied by the first of these and sums by the second.
#define QK_FP8_LIFT 0x1p60f
#define QK_FP8_REST 0x1p60f

enum { QK_FP8_BLOCK = 128, QK_FP8_BYTES = 132 };

#if QK_X86
qk_float_matmul qk_fp8_matmul_avx2, qk_fp8_matmul_avx512;
#elif QK_ARM
qk_float_matmul qk_fp8_matmul_neon;
#endif

#endif
