import CQwenKernels
import QwenTensor
import Testing

private func half(_ bytes: [UInt8], _ at: Int) -> Float {
  Float(Float16(bitPattern: UInt16(bytes[at]) | UInt16(bytes[at + 1]) << 8))
}

/// The published formula of each blocked format, element `k` of the block at `at`.
private let formulas: [String: @Sendable ([UInt8], Int, Int) -> Float] = [
  "Q4_0": { bytes, at, k in half(bytes, at) * Float(nibble(bytes, at + 2, k) - 8) },
  "Q4_1": { bytes, at, k in
    Float(
      Double(half(bytes, at)) * Double(nibble(bytes, at + 4, k)) + Double(half(bytes, at + 2)))
  },
  "Q8_0": { bytes, at, k in half(bytes, at) * Float(Int8(bitPattern: bytes[at + 2 + k])) },
]

private func nibble(_ bytes: [UInt8], _ at: Int, _ k: Int) -> Int {
  k < 16 ? Int(bytes[at + k] & 15) : Int(bytes[at + k - 16] >> 4)
}

extension `Kernels` {
  @Suite struct `Formats` {
    @Test(arguments: ["Q4_0", "Q4_1", "Q8_0"], [0] + fastSets)
    func `decode as their formula says`(_ name: String, _ set: Int32) throws {
      let format = try #require(StorageFormat.all.first { $0.name == name })
      let formula = try #require(formulas[name])
      var random = Random(state: 9)
      let bytes = randomWeights(
        format, rows: 1, columns: 320, rowBytes: 10 * format.blockBytes, &random)
      var values = [Float](repeating: 0, count: 320)
      on(set) { format.decode(bytes, &values, 320) }
      for k in 0..<320 {
        #expect(values[k] == formula(bytes, k / 32 * format.blockBytes, k % 32))
      }
    }

    @Test(arguments: [0] + fastSets)
    func `every half-precision number is decoded exactly`(_ set: Int32) {
      let all = (0...UInt16.max).map { $0 }
      var values = [Float](repeating: 0, count: all.count)
      on(set) { qk_f16_decode(all, &values, all.count) }
      let expected = all.map { Float(Float16(bitPattern: $0)) }
      #expect(bits(values) == bits(expected))
    }

    @Test(arguments: [0] + fastSets)
    func `every bfloat16 is decoded exactly`(_ set: Int32) {
      let all = (0...UInt16.max).map { $0 }
      var values = [Float](repeating: 0, count: all.count)
      on(set) { qk_bf16_decode(all, &values, all.count) }
      #expect(values.map(\.bitPattern) == all.map { UInt32($0) << 16 })
    }

    @Test(arguments: [0] + fastSets)
    func `half precision is encoded to the nearest, ties to even`(_ set: Int32) {
      var random = Random(state: 4)
      var values: [Float] = [
        0, -0.0, 65504, 65519.996, 65520, -65520, 1e9, .infinity, -.infinity, .nan, 0x1p-24,
        0x1p-25, 0x1.000002p-25, 0x1.8p-24, 0x1p-14, 0x1.ffcp-15, 0x1.ffep-15, 2049, 2051, 0x1p-133,
      ]
      for _ in 0..<20_000 { values.append(Float(bitPattern: UInt32(random.next() >> 32))) }
      for _ in 0..<5000 { values.append(random.float() * 0x1p-13) }
      var halves = [UInt16](repeating: 0, count: values.count)
      on(set) { qk_f16_encode(values, &halves, values.count) }
      let nan: UInt16 = 0x7e00
      let expected = values.map { $0.isNaN ? nan : Float16($0).bitPattern }
      #expect(halves.map { ($0 & 0x7fff) > 0x7c00 ? nan : $0 } == expected)
    }

    @Test(arguments: fastSets)
    func `decoding and encoding have the bits of the scalar reference`(_ set: Int32) {
      for count in [0, 1, 7, 8, 9, 33] {
        let source = (0..<count).map { UInt16(truncatingIfNeeded: 0x3c00 + 977 * $0) }
        func all() -> [[UInt32]] {
          var (a, b) = (
            [Float](repeating: 0, count: count + 1), [Float](repeating: 0, count: count + 1)
          )
          var c = [UInt16](repeating: 0, count: count + 1)
          qk_f16_decode(source, &a, count)
          qk_bf16_decode(source, &b, count)
          qk_f16_encode(b, &c, count)
          return [a.map(\.bitPattern), b.map(\.bitPattern), c.map { UInt32($0) }]
        }
        #expect(on(set, all) == on(0, all))
      }
    }
  }
}
