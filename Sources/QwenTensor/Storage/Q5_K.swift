internal import CQwenKernels

extension StorageFormat {
  /// Blocks of 256: 5-bit q, a 6-bit scale and minimum for each 32,
  /// half-precision factors of both.
  package static let q5_k = unsafe StorageFormat(
    name: "Q5_K", ggmlType: 13, blockElements: 256, blockBytes: 176, decode: qk_q5_k_decode,
    encode: qk_q5_k_encode, encodeBest: qk_q5_k_encode_best,
    blockProduct: qk_q5_k_matmul_a8)
}
