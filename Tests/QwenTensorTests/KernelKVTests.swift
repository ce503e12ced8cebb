import CQwenKernels
import QwenTensor
import Testing

/// One way to store keys and values, with its bound on the error of an element.
private struct Form: Sendable {
  typealias Page =
    @convention(c) (
      UnsafePointer<Float>?, Int, Int, UnsafeRawPointer?, UnsafeRawPointer?, UnsafeRawPointer?, Int,
      UnsafePointer<Int32>?, UnsafePointer<Int32>?, UnsafeMutablePointer<Float>?,
      UnsafeMutablePointer<Float>?, UnsafeMutablePointer<Float>?, Int
    ) -> Void
  typealias Store = @Sendable (UnsafePointer<Float>?, Int, Int, UnsafeMutableRawPointer?) -> Void
  typealias Decode = @Sendable (UnsafeRawPointer?, Int, Int, UnsafeMutablePointer<Float>?) -> Void
  let bytes: @Sendable (Int) -> Int
  /// Of keys, of values.
  let store: (Store, Store)
  let decode: (Decode, Decode)
  let page: Page
  let error: @Sendable ([Float], Int) -> Float

  static let all: [String: Form] = [
    "q8": Form(
      bytes: qk_kv_q8_bytes, store: (qk_kv_q8_store_key, qk_kv_q8_store_value),
      decode: (qk_kv_q8_decode_key, qk_kv_q8_decode_value), page: qk_attention_page_q8,
      error: { x, _ in x.map(\.magnitude).max()! / 254 * 1.001 }),
    "q4": Form(
      bytes: qk_kv_q4_bytes, store: (qk_kv_q4_store_key, qk_kv_q4_store_value),
      decode: (qk_kv_q4_decode_key, qk_kv_q4_decode_value), page: qk_attention_page_q4,
      error: { x, k in
        let group = x[k / 32 * 32..<min(x.count, k / 32 * 32 + 32)]
        let (low, high) = (group.min()!, group.max()!)
        // Half a step, and what half precision loses of 15 steps and of the least value.
        return (high - low) / 30 * 1.01 + (high - low + low.magnitude) * 0x1p-10
      }),
  ]

  /// 64 positions of `dim` elements, stored; those in `x` are too few for 64, the rest repeats.
  func run(_ x: [Float], dim: Int, isKey: Bool) -> [UInt8] {
    var run = [UInt8](repeating: 0xff, count: bytes(dim))
    let store = isKey ? store.0 : store.1
    for p in 0..<64 { store(Array(x[p * dim..<p * dim + dim]), dim, p, &run) }
    return run
  }

  func floats(_ run: [UInt8], dim: Int, isKey: Bool) -> [Float] {
    var values = [Float](repeating: 0, count: 64 * dim)
    let decode = isKey ? decode.0 : decode.1
    values.withUnsafeMutableBufferPointer {
      for p in 0..<64 { decode(run, dim, p, $0.baseAddress! + p * dim) }
    }
    return values
  }

  /// The floats that a run decodes to, as a run of floats.
  func floatRun(_ run: [UInt8], dim: Int, isKey: Bool) -> [UInt8] {
    var target = [UInt8](repeating: 0xff, count: qk_kv_f32_bytes(dim))
    let values = floats(run, dim: dim, isKey: isKey)
    let store = isKey ? qk_kv_f32_store_key : qk_kv_f32_store_value
    for p in 0..<64 { store(Array(values[p * dim..<p * dim + dim]), dim, p, &target) }
    return target
  }
}

extension `Kernels` {
  @Suite struct `Keys and values` {
    @Test(arguments: ["q8", "q4"], [1, 7, 8, 16, 24, 40, 64, 80, 128, 132])
    func `are stored within half a step`(_ name: String, _ dim: Int) throws {
      for isKey in [true, false] { try areStored(name, dim, isKey: isKey) }
    }

    private func areStored(_ name: String, _ dim: Int, isKey: Bool) throws {
      let form = try #require(Form.all[name])
      var random = Random(state: UInt64(dim))
      var x = random.floats(64 * dim)
      for k in 0..<dim {
        x[3 * dim + k] = 0
        x[4 * dim + k] = 5
        x[5 * dim + k] *= 1e-3
        x[6 * dim + k] = x[6 * dim + k] * 40 + 200
      }
      let run = form.run(x, dim: dim, isKey: isKey)
      let values = form.floats(run, dim: dim, isKey: isKey)
      for p in 0..<64 {
        let row = Array(x[p * dim..<p * dim + dim])
        for k in 0..<dim {
          #expect((values[p * dim + k] - row[k]).magnitude <= form.error(row, k))
        }
      }
    }

    @Test(arguments: ["q8", "q4"])
    func `show what is not finite`(_ name: String) throws {
      let form = try #require(Form.all[name])
      for bad in [Float.nan, .infinity, -.infinity] {
        var x = [Float](repeating: 1, count: 64 * 40)
        x[2 * 40 + 35] = bad
        for isKey in [true, false] {
          let values = form.floats(form.run(x, dim: 40, isKey: isKey), dim: 40, isKey: isKey)
          #expect(!values[2 * 40 + 35].isFinite)
          #expect(values[..<80].allSatisfy { $0 == 1 } && values[120...].allSatisfy { $0 == 1 })
        }
      }
    }

    @Test(arguments: ["q8", "q4"], [0] + fastSets)
    func `give the attention of the floats they decode to`(_ name: String, _ set: Int32) throws {
      let form = try #require(Form.all[name])
      for dim in [1, 7, 8, 16, 24, 40, 64, 80, 128, 136] {
        var random = Random(state: UInt64(dim))
        let keys = form.run(random.floats(64 * dim), dim: dim, isKey: true)
        let values = form.run(random.floats(64 * dim), dim: dim, isKey: false)
        let floatKeys = form.floatRun(keys, dim: dim, isKey: true)
        let floatValues = form.floatRun(values, dim: dim, isKey: false)
        for queries in [1, 2, 3, 4, 5, 6, 7, 8, 13, 20] {
          let q = random.floats(queries * dim).map { $0 * 2 }
          let shapes: [((Int) -> Int, (Int) -> Int)] = [
            ({ _ in 0 }, { _ in 64 }), ({ $0 }, { min(50 + $0, 64) }),
            ({ _ in 60 }, { $0 % 3 == 1 ? 60 : 64 }), ({ 40 - $0 }, { 42 - $0 }),
          ]
          for (first, visible) in shapes {
            let limits = (0..<queries).map { (Int32(first($0)), Int32(visible($0))) }
            func state(_ page: Form.Page, _ k: UnsafeRawPointer, _ v: UnsafeRawPointer) -> [UInt32]
            {
              var maximum = [Float](repeating: -.infinity, count: queries)
              var sum = [Float](repeating: 0, count: queries)
              var out = [Float](repeating: 0, count: queries * dim)
              page(
                q, dim, queries, k, v, k, dim, limits.map(\.0), limits.map(\.1), &maximum, &sum,
                &out,
                dim)
              return bits(maximum + sum + out)
            }
            let floats = on(0) { state(qk_attention_page_f32, floatKeys, floatValues) }
            let found = on(set) { state(form.page, keys, values) }
            // 8 bits multiply codes, and scales behind sums: the same but for rounding.
            let expected = name == "q8" ? on(0) { state(form.page, keys, values) } : floats
            #expect(found == expected, "\(queries) of \(dim)")
            for (value, other) in zip(found, floats) {
              let (value, other) = (Float(bitPattern: value), Float(bitPattern: other))
              #expect(value == other || (value - other).magnitude < 1e-4 * (1 + other.magnitude))
            }
          }
        }
      }
    }
  }
}
