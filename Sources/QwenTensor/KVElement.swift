internal import CQwenKernels

extension KVShape {
  /// How keys and values are stored.
  package enum Element: String, Sendable, CaseIterable {
    /// Half precision.
    case f16
    /// Float, for exact comparison.
    case f32
    /// 8 bits and a scale for each head and position.
    case q8
    /// 4 bits, a step and a least value for each 32 elements of a head and position.
    case q4
  }
}

/// The kernels of one way to store keys and values.
@safe
struct KVKernels {
  typealias Size = @convention(c) (Int) -> Int
  typealias Store =
    @convention(c) (UnsafePointer<Float>?, Int, Int, UnsafeMutableRawPointer?) -> Void
  typealias Page =
    @convention(c) (
      UnsafePointer<Float>?, Int, Int, UnsafeRawPointer?, UnsafeRawPointer?, Int,
      UnsafePointer<Int32>?, UnsafePointer<Int32>?, UnsafeMutablePointer<Float>?,
      UnsafeMutablePointer<Float>?, UnsafeMutablePointer<Float>?, Int
    ) -> Void

  /// Bytes of the keys, or of the values, of one head in one page.
  let bytes: Size
  /// Writes one position of them.
  @unsafe let store: Store
  /// Attention over one page.
  @unsafe let attend: Page
}

extension KVShape.Element {
  /// Bytes that a position takes of the scales at the start of a run, and of what lies behind them.
  func bytesAPosition(dim: Int) -> (scales: Int, rest: Int) {
    let all = unsafe kernels.bytes(dim) / KVShape.pagePositions
    let scales =
      switch self {
      case .f16, .f32: 0
      case .q8: 4
      case .q4: (dim + 31) / 32 * 4
      }
    return (scales, all - scales)
  }

  @unsafe var kernels: KVKernels {
    switch self {
    case .f16:
      unsafe KVKernels(
        bytes: qk_kv_f16_bytes, store: qk_kv_f16_store, attend: qk_attention_page_f16)
    case .f32:
      unsafe KVKernels(
        bytes: qk_kv_f32_bytes, store: qk_kv_f32_store, attend: qk_attention_page_f32)
    case .q8:
      unsafe KVKernels(bytes: qk_kv_q8_bytes, store: qk_kv_q8_store, attend: qk_attention_page_q8)
    case .q4:
      unsafe KVKernels(bytes: qk_kv_q4_bytes, store: qk_kv_q4_store, attend: qk_attention_page_q4)
    }
  }
}
