internal import CQwenKernels

extension StorageFormat {
  /// Rows of LLM.int8(): a float with the largest magnitude, then signed bytes, as bitsandbytes has them.
  ///
  /// Activations have one scale a token; their outliers are found token by token, so that no result depends on
  /// the tokens beside it, and multiplied as floats.
  package static let int8 = unsafe StorageFormat(
    name: "INT8", blockElements: 32, blockBytes: 32, rowHead: { _ in 4 }, decode: qk_int8_decode,
    encode: qk_int8_encode, blockProduct: qk_int8_matmul_a8,
    outlierProduct: qk_int8_add_outliers)
}
