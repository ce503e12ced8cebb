// Functions of two vectors with AVX-512.
#include "exp_avx512.h"
#include "twins.h"

#if QK_X86

QK_AVX512 void qk_silu_multiply_avx512(const float *gate, const float *up, float *out, size_t count) {
  const __m512i sign = _mm512_set1_epi32(INT32_MIN);
  for (size_t k = 0; k < count; k += 16) {
    const __mmask16 mask = (__mmask16)(count - k >= 16 ? 0xffff : (1u << (count - k)) - 1);
    const __m512 g = _mm512_maskz_loadu_ps(mask, gate + k);
    const __m512 opposite = _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(g), sign));
    const __m512 silu = _mm512_div_ps(g, _mm512_add_ps(_mm512_set1_ps(1), qk_exp16(opposite)));
    _mm512_mask_storeu_ps(out + k, mask, _mm512_mul_ps(silu, _mm512_maskz_loadu_ps(mask, up + k)));
  }
}

#endif
