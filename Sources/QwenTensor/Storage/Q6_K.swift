internal import CQwenKernels

extension StorageFormat {
  /// Blocks of 256: 6-bit q, an 8-bit scale for each 16, a half-precision factor.
  package static let q6_k = unsafe StorageFormat(
    name: "Q6_K", ggmlType: 14, blockElements: 256, blockBytes: 210, decode: qk_q6_k_decode,
    encode: qk_q6_k_encode, encodeBest: qk_q6_k_encode_best,
    blockProduct: qk_q6_k_matmul_a8)
}
