internal import CQwenKernels

extension StorageFormat {
  /// Blocks of 32: a half-precision scale d, a byte z, 4-bit q; the value is d (q - z).
  ///
  /// Nothing is lost of GPTQ and AWQ weights whose groups are multiples of 32.
  package static let z4_32 = unsafe StorageFormat(
    name: "Z4_32", blockElements: 32, blockBytes: 19, decode: qk_z4_32_decode,
    blockProduct: qk_z4_32_matmul_a8)
}
