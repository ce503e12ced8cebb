internal import CQwenKernels

extension StorageFormat {
  /// Blocks of 32: a half-precision scale d and 8-bit signed q; the value is d q.
  package static let q8_0 = unsafe StorageFormat(
    name: "Q8_0", ggmlType: 8, blockElements: 32, blockBytes: 34,
    decode: qk_q8_0_decode, encode: qk_q8_0_encode,
    blockProduct: qk_q8_0_matmul_a8)
}
