// Products of interleaved Q5_K with AVX-512 VNNI.
#include "scales6_avx512.h"

#if QK_X86
QK_SCALES6_MATMUL(qk_q5_kx16_matmul_a8_avx512, 1)
#endif
