internal import CQwenKernels

extension StorageFormat {
  /// The upper 16 bits of a float: eight bits of exponent, seven of fraction.
  package static let bf16 = unsafe StorageFormat(
    name: "BF16", ggmlType: 30, safetensorsType: "BF16", blockElements: 1, blockBytes: 2,
    decode: qk_bf16_decode, encode: qk_bf16_encode, floatProduct: qk_bf16_matmul,
    bfloatProduct: qk_bf16_matmul_bf16)
}
