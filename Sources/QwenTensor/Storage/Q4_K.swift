internal import CQwenKernels

extension StorageFormat {
  /// Blocks of 256: 4-bit q, a 6-bit scale and minimum for each 32,
  /// half-precision factors of both.
  package static let q4_k = unsafe StorageFormat(
    name: "Q4_K", ggmlType: 12, blockElements: 256, blockBytes: 144, decode: qk_q4_k_decode,
    encode: qk_q4_k_encode, encodeBest: qk_q4_k_encode_best,
    blockProduct: qk_q4_k_matmul_a8)
}
