internal import CQwenKernels

extension StorageFormat {
  /// Blocks of 128: a float and numbers of 8 bits (e4m3: four of exponent, three of fraction).
  ///
  /// What FP8 releases with square blocks of 128 mean, each row with its share of the scales. Read only.
  package static let fp8 = unsafe StorageFormat(
    name: "FP8", blockElements: 128, blockBytes: 132, decode: qk_fp8_decode,
    floatProduct: qk_fp8_matmul)
}
