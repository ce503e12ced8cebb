internal import CQwenKernels

extension StorageFormat {
  /// Blocks of 32: a half-precision scale d and 5-bit q; the value is d (q - 16).
  package static let q5_0 = unsafe StorageFormat(
    name: "Q5_0", ggmlType: 6, blockElements: 32, blockBytes: 22, decode: qk_q5_0_decode,
    encode: qk_q5_0_encode, encodeBest: qk_q5_0_encode_best, blockProduct: qk_q5_0_matmul_a8)
}
