import CQwenKernels
import Testing

private func quantize(_ x: [Float], on set: Int32) -> [qk_a8_block] {
  var blocks = [qk_a8_block](repeating: qk_a8_block(), count: x.count / 32)
  on(set) { qk_a8_quantize(x, &blocks, x.count) }
  return blocks
}

private func values(_ block: qk_a8_block) -> [Int8] {
  withUnsafeBytes(of: block.values) { $0.map { Int8(bitPattern: $0) } }
}

/// Blocks of ordinary, tiny, huge, coarse and broken numbers.
private func samples() -> [Float] {
  var random = Random(state: 12)
  var x: [Float] = []
  for scale in [1, 1e-3, 3e38, 0x1p-126, 0x1p-146, 0x1p-149, 0, 127] as [Float] {
    x += random.floats(32).map { $0 * scale }
  }
  for bad in [Float.nan, .infinity, -.infinity] {
    x += random.floats(32)
    x[x.count - 7] = bad
  }
  x += (0..<32).map { Float($0) - 15.5 } + [127] + (1..<32).map { Float($0) + 0.5 }
  return x
}

extension `Kernels` {
  @Suite struct `Activations in 8 bits` {
    @Test(arguments: [0] + fastSets)
    func `are the nearest multiples of the scale`(_ set: Int32) {
      let x = samples()
      for (index, block) in quantize(x, on: set).enumerated() {
        let part = x[32 * index..<32 * index + 32]
        let q = values(block)
        #expect(block.sum == q.reduce(0) { $0 + Int32($1) })
        #expect(Int32(block.halves.0) == q.prefix(16).reduce(0) { $0 + Int32($1) })
        #expect(Int32(block.halves.1) == q.suffix(16).reduce(0) { $0 + Int32($1) })
        #expect(bits([block.scaled_sum]) == bits([block.scale * Float(block.sum)]))
        let largest = part.map(\.magnitude).max() ?? 0
        guard part.allSatisfy(\.isFinite) else {
          #expect(!block.scale.isFinite)
          continue
        }
        #expect(block.scale == largest / 127)
        for (value, q) in zip(part, q) where block.scale > 0 {
          let exact = (value / block.scale).rounded(.toNearestOrEven)
          #expect(Float(q) == min(max(exact, -127), 127))
        }
        if block.scale == 0 { #expect(q.allSatisfy { $0 == 0 }) }
      }
    }

    @Test(arguments: [0] + fastSets)
    func `round half to even`(_ set: Int32) {
      // The largest value is 127, so the scale is 1.
      let x = [127] + (1..<32).map { Float($0) - 16 + 0.5 }
      let expected = x.map { Int8($0.rounded(.toNearestOrEven)) }
      #expect(values(quantize(x, on: set)[0]) == expected)
    }

    @Test(arguments: fastSets)
    func `have the bits of the scalar reference`(_ set: Int32) {
      let (fast, slow) = (quantize(samples(), on: set), quantize(samples(), on: 0))
      for (a, b) in zip(fast, slow) {
        #expect(bits([a.scale]) == bits([b.scale]))
        #expect(a.sum == b.sum)
        #expect(a.halves == b.halves)
        #expect(bits([a.scaled_sum]) == bits([b.scaled_sum]))
        #expect(values(a) == values(b))
      }
    }

    @Test(arguments: fastSets)
    func `of LLM int8 have the bits of the scalar reference`(_ set: Int32) {
      var random = Random(state: 31)
      for scale in [0, 1e-30, 1, 5, 6, 7, 1e6] as [Float] {
        for bad in [0, Float.nan, .infinity, 6, -5.999] as [Float] {
          var x = random.floats(320).map { $0 * scale }
          if bad != 0 { x[77] = bad }
          func run() -> ([UInt32], [UInt32], [Int32], [Int8]) {
            var blocks = [qk_a8_block](repeating: qk_a8_block(), count: 10)
            var outliers = [UInt32](repeating: 7, count: 10)
            qk_int8_quantize(x, &blocks, &outliers, 320)
            return (
              outliers, bits(blocks.map(\.scale)), blocks.map(\.sum), blocks.flatMap(values)
            )
          }
          #expect(on(set, run) == on(0, run))
        }
      }
    }
  }
}
