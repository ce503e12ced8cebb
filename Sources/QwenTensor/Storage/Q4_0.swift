internal import CQwenKernels

extension StorageFormat {
  /// Blocks of 32: a half-precision scale d and 4-bit q; the value is d (q - 8).
  package static let q4_0 = unsafe StorageFormat(
    name: "Q4_0", ggmlType: 2, blockElements: 32, blockBytes: 18,
    decode: qk_q4_0_decode, encode: qk_q4_0_encode, encodeBest: qk_q4_0_encode_best,
    blockProduct: qk_q4_0_matmul_a8)
}
