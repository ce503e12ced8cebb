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
      UnsafePointer<Float>?, Int, Int, UnsafeRawPointer?, UnsafeRawPointer?, UnsafeRawPointer?, Int,
      UnsafePointer<Int32>?, UnsafePointer<Int32>?, UnsafeMutablePointer<Float>?,
      UnsafeMutablePointer<Float>?, UnsafeMutablePointer<Float>?, Int
    ) -> Void

  /// Bytes of the keys, or of the values, of one head in one page.
  let bytes: Size
  /// Write one position of them.
  @unsafe let storeKey: Store
  @unsafe let storeValue: Store
  /// Attention over one page.
  @unsafe let attend: Page
}

/// What a position has of a part of a run, and how many positions lie side by side there, unit by unit.
struct KVUnits {
  let positions: Int
  let bytes: Int
  let count: Int
  var rowBytes: Int { bytes * count }
}

extension KVShape.Element {
  /// What a position takes of the scales at the start of a run, and of what lies behind them; as it lies among keys. Values
  /// are rows.
  func units(dim: Int) -> (scales: KVUnits, rest: KVUnits) {
    func scales(_ bytes: Int, _ count: Int) -> KVUnits {
      KVUnits(positions: KVShape.pagePositions, bytes: bytes, count: count)
    }
    func rest(_ bytes: Int, _ count: Int) -> KVUnits {
      KVUnits(positions: KVShape.keyPositions, bytes: bytes, count: count)
    }
    return switch self {
    case .f32: (scales(0, 0), rest(4, dim))
    case .f16: (scales(0, 0), rest(2, dim))
    case .q8: (scales(4, 1), rest(1, dim))
    case .q4: (scales(2, (dim + 31) / 32 * 2), rest(1, (dim + 15) / 16 * 8))
    }
  }

  @unsafe var kernels: KVKernels {
    switch self {
    case .f16:
      unsafe KVKernels(
        bytes: qk_kv_f16_bytes, storeKey: qk_kv_f16_store_key, storeValue: qk_kv_f16_store_value,
        attend: qk_attention_page_f16)
    case .f32:
      unsafe KVKernels(
        bytes: qk_kv_f32_bytes, storeKey: qk_kv_f32_store_key, storeValue: qk_kv_f32_store_value,
        attend: qk_attention_page_f32)
    case .q8:
      unsafe KVKernels(
        bytes: qk_kv_q8_bytes, storeKey: qk_kv_q8_store_key, storeValue: qk_kv_q8_store_value,
        attend: qk_attention_page_q8)
    case .q4:
      unsafe KVKernels(
        bytes: qk_kv_q4_bytes, storeKey: qk_kv_q4_store_key, storeValue: qk_kv_q4_store_value,
        attend: qk_attention_page_q4)
    }
  }
}
