// One page of attention for one element type; included twice by attention.c, which defines
//   QK_NAME(x), ELEMENT, LOAD_ONE(row, k) and, for AVX2, LOAD_EIGHT(row, k).
//
// Scores have the lanes of every other dot product. Queries that see the same positions are taken four at a
// time, so a key and a value are loaded and converted once for the four; each query's sums stay its own.

static void QK_NAME(scores_scalar)(const float *q, const ELEMENT *keys, size_t dim, int32_t from,
                                   int32_t to, float *scores) {
  for (int32_t p = from; p < to; p++) {
    const ELEMENT *key = keys + (size_t)p * dim;
    float lanes[QK_LANES] = {0};
    for (size_t k = 0; k < dim; k++)
      lanes[k % QK_LANES] = fmaf(q[k], LOAD_ONE(key, k), lanes[k % QK_LANES]);
    scores[p] = qk_sum_lanes(lanes);
  }
}

static void QK_NAME(values_scalar)(const float *weights, const ELEMENT *values, size_t dim,
                                   int32_t from, int32_t to, float *out) {
  for (int32_t p = from; p < to; p++)
    for (size_t k = 0; k < dim; k++)
      out[k] = fmaf(weights[p], LOAD_ONE(values + (size_t)p * dim, k), out[k]);
}

#if QK_X86
QK_AVX2_INLINE void QK_NAME(scores_tile)(const int N, const float *q, size_t q_stride,
                                         const ELEMENT *keys, size_t dim, int32_t from, int32_t to,
                                         float *scores) {
  for (int32_t p = from; p < to; p++) {
    const ELEMENT *key = keys + (size_t)p * dim;
    __m256 sum[4];
    for (int i = 0; i < N; i++) sum[i] = _mm256_setzero_ps();
    size_t k = 0;
    for (; k + 8 <= dim; k += 8) {
      __m256 value = LOAD_EIGHT(key, k);
      for (int i = 0; i < N; i++)
        sum[i] = _mm256_fmadd_ps(_mm256_loadu_ps(q + (size_t)i * q_stride + k), value, sum[i]);
    }
    if (k < dim) {
      float rest[8] = {0};
      for (size_t j = k; j < dim; j++) rest[j - k] = LOAD_ONE(key, j);
      __m256 value = _mm256_loadu_ps(rest);
      __m256i mask = qk_mask_avx2(dim - k);
      for (int i = 0; i < N; i++)
        sum[i] = _mm256_fmadd_ps(
            _mm256_maskload_ps(q + (size_t)i * q_stride + k, mask), value, sum[i]);
    }
    for (int i = 0; i < N; i++) scores[i * QK_PAGE_POSITIONS + p] = qk_sum_avx2(sum[i]);
  }
}

QK_AVX2_INLINE void QK_NAME(values_tile)(const int N, const float *weights, const ELEMENT *values,
                                         size_t dim, int32_t from, int32_t to, float *out,
                                         size_t out_stride) {
  size_t k = 0;
  for (; k + 8 <= dim; k += 8) {
    __m256 sum[4];
    for (int i = 0; i < N; i++) sum[i] = _mm256_loadu_ps(out + (size_t)i * out_stride + k);
    for (int32_t p = from; p < to; p++) {
      __m256 value = LOAD_EIGHT(values + (size_t)p * dim, k);
      for (int i = 0; i < N; i++)
        sum[i] = _mm256_fmadd_ps(_mm256_set1_ps(weights[i * QK_PAGE_POSITIONS + p]), value, sum[i]);
    }
    for (int i = 0; i < N; i++) _mm256_storeu_ps(out + (size_t)i * out_stride + k, sum[i]);
  }
  for (; k < dim; k++)
    for (int32_t p = from; p < to; p++)
      for (int i = 0; i < N; i++)
        out[(size_t)i * out_stride + k] =
            fmaf(weights[i * QK_PAGE_POSITIONS + p], LOAD_ONE(values + (size_t)p * dim, k),
                 out[(size_t)i * out_stride + k]);
}

QK_AVX2 static void QK_NAME(scores_avx2)(int n, const float *q, size_t q_stride,
                                         const ELEMENT *keys, size_t dim, int32_t from, int32_t to,
                                         float *scores) {
  if (n == 4)
    QK_NAME(scores_tile)(4, q, q_stride, keys, dim, from, to, scores);
  else
    for (int i = 0; i < n; i++)
      QK_NAME(scores_tile)(1, q + (size_t)i * q_stride, q_stride, keys, dim, from, to,
                           scores + i * QK_PAGE_POSITIONS);
}

QK_AVX2 static void QK_NAME(values_avx2)(int n, const float *weights, const ELEMENT *values,
                                         size_t dim, int32_t from, int32_t to, float *out,
                                         size_t out_stride) {
  if (n == 4)
    QK_NAME(values_tile)(4, weights, values, dim, from, to, out, out_stride);
  else
    for (int i = 0; i < n; i++)
      QK_NAME(values_tile)(1, weights + i * QK_PAGE_POSITIONS, values, dim, from, to,
                           out + (size_t)i * out_stride, out_stride);
}
#endif

void QK_NAME(page)(const float *q, size_t q_stride, size_t queries, const ELEMENT *keys,
                   const ELEMENT *values, size_t dim, const int32_t *first, const int32_t *visible,
                   float *maximum, float *sum, float *out, size_t out_stride) {
  float scores[4 * QK_PAGE_POSITIONS];
  for (size_t i = 0; i < queries;) {
    int32_t from = first[i], to = visible[i];
    int n = 1;
    while (n < 4 && i + (size_t)n < queries && first[i + (size_t)n] == from
           && visible[i + (size_t)n] == to)
      n++;
    if (from < to) {
#if QK_X86
      int fast = qk_cpu_isa() >= QK_ISA_AVX2;
      if (fast) QK_NAME(scores_avx2)(n, q + i * q_stride, q_stride, keys, dim, from, to, scores);
      else
#endif
        for (int j = 0; j < n; j++)
          QK_NAME(scores_scalar)(q + (i + (size_t)j) * q_stride, keys, dim, from, to,
                                 scores + j * QK_PAGE_POSITIONS);
      for (int j = 0; j < n; j++)
        qk_soften(scores + j * QK_PAGE_POSITIONS, from, to, maximum + i + j, sum + i + j,
                  out + (i + (size_t)j) * out_stride, dim);
#if QK_X86
      if (fast) QK_NAME(values_avx2)(n, scores, values, dim, from, to, out + i * out_stride, out_stride);
      else
#endif
        for (int j = 0; j < n; j++)
          QK_NAME(values_scalar)(scores + j * QK_PAGE_POSITIONS, values, dim, from, to,
                                 out + (i + (size_t)j) * out_stride);
    }
    i += (size_t)n;
  }
}
