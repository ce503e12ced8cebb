internal import CQwenKernels

extension StorageFormat {
  /// Blocks of 32: a half-precision scale d, 16 bits z, unsigned bytes q; the value is d (q - z).
  ///
  /// Nothing is lost of GPTQ weights of 8 bits whose groups are multiples of 32.
  package static let z8 = unsafe StorageFormat(
    name: "Z8", blockElements: 32, blockBytes: 36, decode: qk_z8_decode,
    blockProduct: qk_z8_matmul_a8)
}
