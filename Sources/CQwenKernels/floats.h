// Product of rows of floats in some storage with float activations; included once a format, which defines
// QK_NAME(x) names, LOAD_ONE(source, k) and, for AVX2, LOAD_EIGHT(source, k).
//
// A tile of R rows and T tokens keeps one register of lanes for each pair, so a weight is loaded once for
// T tokens and an activation once for R rows, while each sum keeps its own shape.

static void QK_NAME(scalar)(const uint8_t *w, size_t row_bytes, size_t rows, size_t columns,
                            const float *x, size_t x_stride, size_t tokens, float *y, size_t y_stride) {
  for (size_t r = 0; r < rows; r++)
    for (size_t t = 0; t < tokens; t++) {
      float lanes[QK_LANES] = {0};
      for (size_t k = 0; k < columns; k++)
        lanes[k % QK_LANES] =
            fmaf(LOAD_ONE(w + r * row_bytes, k), x[t * x_stride + k], lanes[k % QK_LANES]);
      y[t * y_stride + r] = qk_sum_lanes(lanes);
    }
}

#if QK_X86
QK_AVX2_INLINE void QK_NAME(tile)(const int R, const int T, const uint8_t *w, size_t row_bytes,
                                  size_t columns, const float *x, size_t x_stride, float *y,
                                  size_t y_stride) {
  __m256 sum[4][3];
  for (int r = 0; r < R; r++)
    for (int t = 0; t < T; t++) sum[r][t] = _mm256_setzero_ps();
  size_t k = 0;
  for (; k + QK_LANES <= columns; k += QK_LANES) {
    __m256 in[3];
    for (int t = 0; t < T; t++) in[t] = _mm256_loadu_ps(x + (size_t)t * x_stride + k);
    for (int r = 0; r < R; r++) {
      __m256 weight = LOAD_EIGHT(w + (size_t)r * row_bytes, k);
      for (int t = 0; t < T; t++) sum[r][t] = _mm256_fmadd_ps(weight, in[t], sum[r][t]);
    }
  }
  if (k < columns) {
    __m256i mask = qk_mask_avx2(columns - k);
    for (int r = 0; r < R; r++) {
      float rest[QK_LANES] = {0};
      for (size_t j = k; j < columns; j++) rest[j - k] = LOAD_ONE(w + (size_t)r * row_bytes, j);
      __m256 weight = _mm256_loadu_ps(rest);
      for (int t = 0; t < T; t++)
        sum[r][t] = _mm256_fmadd_ps(
            weight, _mm256_maskload_ps(x + (size_t)t * x_stride + k, mask), sum[r][t]);
    }
  }
  for (int r = 0; r < R; r++)
    for (int t = 0; t < T; t++) y[(size_t)t * y_stride + (size_t)r] = qk_sum_avx2(sum[r][t]);
}

QK_AVX2 static void QK_NAME(avx2)(const uint8_t *w, size_t row_bytes, size_t rows, size_t columns,
                                  const float *x, size_t x_stride, size_t tokens, float *y,
                                  size_t y_stride) {
  size_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    const uint8_t *row = w + r * row_bytes;
    size_t t = 0;
    for (; t + 3 <= tokens; t += 3)
      QK_NAME(tile)(4, 3, row, row_bytes, columns, x + t * x_stride, x_stride,
                    y + t * y_stride + r, y_stride);
    for (; t < tokens; t++)
      QK_NAME(tile)(4, 1, row, row_bytes, columns, x + t * x_stride, x_stride,
                    y + t * y_stride + r, y_stride);
  }
  for (; r < rows; r++)
    for (size_t t = 0; t < tokens; t++)
      QK_NAME(tile)(1, 1, w + r * row_bytes, row_bytes, columns, x + t * x_stride, x_stride,
                    y + t * y_stride + r, y_stride);
}
#endif

void QK_NAME(matmul)(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                     const float *x, size_t x_stride, size_t tokens, float *y, size_t y_stride) {
#if QK_X86
  if (qk_cpu_isa() >= QK_ISA_AVX2) {
    QK_NAME(avx2)(weights, row_bytes, rows, columns, x, x_stride, tokens, y, y_stride);
    return;
  }
#endif
  QK_NAME(scalar)(weights, row_bytes, rows, columns, x, x_stride, tokens, y, y_stride);
}
