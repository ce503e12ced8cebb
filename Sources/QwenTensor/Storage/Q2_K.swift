internal import CQwenKernels

extension StorageFormat {
  /// Blocks of 256: 2-bit q, a 4-bit scale and minimum for each 16,
  /// half-precision factors of both.
  package static let q2_k = unsafe StorageFormat(
    name: "Q2_K", ggmlType: 10, blockElements: 256, blockBytes: 84, decode: qk_q2_k_decode,
    encode: qk_q2_k_encode, encodeBest: qk_q2_k_encode_best,
    blockProduct: qk_q2_k_matmul_a8)
}
