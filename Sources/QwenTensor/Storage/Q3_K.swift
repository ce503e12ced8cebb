internal import CQwenKernels

extension StorageFormat {
  /// Blocks of 256: 3-bit q, a 6-bit scale for each 16, a half-precision factor.
  package static let q3_k = unsafe StorageFormat(
    name: "Q3_K", ggmlType: 11, blockElements: 256, blockBytes: 110, decode: qk_q3_k_decode,
    encode: qk_q3_k_encode, encodeBest: qk_q3_k_encode_best,
    blockProduct: qk_q3_k_matmul_a8)
}
