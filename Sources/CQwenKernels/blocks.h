// Product of rows of 32-value blocks with 8-bit activations; included once a format, which defines
//   QK_NAME(x), BLOCK_BYTES
//   unpack(block, int8_t q[32])   the integers of a block in order, and SCALE(block), the factor on them
//   HAS_MINIMUM and MINIMUM(block) if the value is scale * q + minimum
//   for AVX2: unpack_avx2(block), the same 32 integers in one register.
//
// Lane l of 8 holds the integer sum of k = 4l ... 4l + 3, exact; blocks are added to the float lanes by fused
// multiply-add with (weight scale * activation scale) in rising order. The minimum's share is one sum of its
// own: minimum times (activation scale * sum of the activations), block after block.

enum { QK_ROWS = 2, QK_TOKENS = 4 };

static void QK_NAME(scalar)(const uint8_t *w, size_t row_bytes, size_t rows, size_t n,
                            const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,
                            size_t y_stride) {
  for (size_t r = 0; r < rows; r++)
    for (size_t t = 0; t < tokens; t++) {
      float lanes[QK_LANES] = {0}, rest = 0;
      for (size_t b = 0; b < n; b++) {
        const uint8_t *block = w + r * row_bytes + b * BLOCK_BYTES;
        const qk_a8_block *in = x + t * x_stride + b;
        int8_t q[QK_BLOCK];
        unpack(block, q);
        float scale = SCALE(block) * in->scale;
        for (int l = 0; l < QK_LANES; l++) {
          int32_t sum = 0;
          for (int k = 4 * l; k < 4 * l + 4; k++) sum += q[k] * in->values[k];
          lanes[l] = fmaf((float)sum, scale, lanes[l]);
        }
#ifdef HAS_MINIMUM
        rest = fmaf(MINIMUM(block), in->scale * (float)in->sum, rest);
#endif
      }
      y[t * y_stride + r] = qk_sum_lanes(lanes) + rest;
    }
}

#if QK_X86
QK_AVX2_INLINE float QK_NAME(half)(const uint8_t *source) {
  return _cvtsh_ss(qk_load_u16(source));
}

QK_AVX2_INLINE void QK_NAME(tile)(const int R, const int T, const uint8_t *w, size_t row_bytes,
                                  size_t n, const qk_a8_block *x, size_t x_stride, float *y,
                                  size_t y_stride) {
  __m256 sum[4][4];
  float rest[4][4];
  const __m256i ones = _mm256_set1_epi16(1);
  for (int r = 0; r < R; r++)
    for (int t = 0; t < T; t++) {
      sum[r][t] = _mm256_setzero_ps();
      rest[r][t] = 0;
    }
  for (size_t b = 0; b < n; b++) {
    for (int r = 0; r < R; r++) {
      const uint8_t *block = w + (size_t)r * row_bytes + b * BLOCK_BYTES;
      __m256i q = unpack_avx2(block);
#ifndef HAS_MINIMUM
      __m256i magnitude = _mm256_sign_epi8(q, q);
#endif
      float scale = QK_NAME(half)(block);
#ifdef HAS_MINIMUM
      float minimum = QK_NAME(half)(block + 2);
#endif
      for (int t = 0; t < T; t++) {
        const qk_a8_block *in = x + (size_t)t * x_stride + b;
        __m256i a = _mm256_loadu_si256((const __m256i *)in->values);
#ifdef HAS_MINIMUM
        __m256i pairs = _mm256_maddubs_epi16(q, a);
        rest[r][t] = fmaf(minimum, in->scale * (float)in->sum, rest[r][t]);
#else
        // |q| unsigned times a with the sign of q: at most 2 * 128 * 127, no saturation.
        __m256i pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(a, q));
#endif
        __m256 lanes = _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, ones));
        sum[r][t] = _mm256_fmadd_ps(lanes, _mm256_set1_ps(scale * in->scale), sum[r][t]);
      }
    }
  }
  for (int r = 0; r < R; r++)
    for (int t = 0; t < T; t++)
      y[(size_t)t * y_stride + (size_t)r] = qk_sum_avx2(sum[r][t]) + rest[r][t];
}

QK_AVX2 static void QK_NAME(avx2)(const uint8_t *w, size_t row_bytes, size_t rows, size_t n,
                                  const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,
                                  size_t y_stride) {
  size_t r = 0;
  if (tokens == 1)
    for (; r + 4 <= rows; r += 4)
      QK_NAME(tile)(4, 1, w + r * row_bytes, row_bytes, n, x, x_stride, y + r, y_stride);
  for (; r + QK_ROWS <= rows; r += QK_ROWS) {
    const uint8_t *row = w + r * row_bytes;
    size_t t = 0;
    for (; t + QK_TOKENS <= tokens; t += QK_TOKENS)
      QK_NAME(tile)(QK_ROWS, QK_TOKENS, row, row_bytes, n, x + t * x_stride, x_stride,
                    y + t * y_stride + r, y_stride);
    for (; t < tokens; t++)
      QK_NAME(tile)(QK_ROWS, 1, row, row_bytes, n, x + t * x_stride, x_stride,
                    y + t * y_stride + r, y_stride);
  }
  for (; r < rows; r++)
    for (size_t t = 0; t < tokens; t++)
      QK_NAME(tile)(1, 1, w + r * row_bytes, row_bytes, n, x + t * x_stride, x_stride,
                    y + t * y_stride + r, y_stride);
}
#endif

void QK_NAME(matmul_a8)(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                        const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,
                        size_t y_stride) {
  size_t n = columns / QK_BLOCK;
#if QK_X86
  if (qk_cpu_isa() >= QK_ISA_AVX2) {
    QK_NAME(avx2)(weights, row_bytes, rows, n, x, x_stride, tokens, y, y_stride);
    return;
  }
#endif
  QK_NAME(scalar)(weights, row_bytes, rows, n, x, x_stride, tokens, y, y_stride);
}
