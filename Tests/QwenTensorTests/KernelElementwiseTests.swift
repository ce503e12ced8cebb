import CQwenKernels
import Glibc
import Testing

private let lengths = [0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 128, 131]

/// The distance of neighbouring floats at `value`, as a double.
private func unit(_ value: Double) -> Double { Double(Float(value).ulp) }

private func exponentials(_ x: [Float], on set: Int32) -> [Float] {
  var y = [Float](repeating: 0, count: x.count)
  on(set) { qk_exp(x, &y, x.count) }
  return y
}

extension `Kernels` {
  @Suite struct `Elementwise` {
    @Test(arguments: [0] + fastSets)
    func `exp is within two in ten million of the exact value`(_ set: Int32) {
      var x: [Float] = []
      var value: Float = -87.3
      while value < 88.72 {
        x.append(value)
        value += 0.00313
      }
      x += (-140...60).flatMap { [Float(sign: .plus, exponent: $0 / 10, significand: 1.37)] }
      let y = exponentials(x.filter { $0 < 88.72 }, on: set)
      let worst = zip(x.filter { $0 < 88.72 }, y).map { x, y in
        (Double(y) / exp(Double(x)) - 1).magnitude
      }.max()
      #expect(worst ?? 1 < 2e-7)
    }

    @Test(arguments: [0] + fastSets)
    func `exp of extremes`(_ set: Int32) {
      let x: [Float] = [
        0, -0.0, .infinity, -.infinity, .greatestFiniteMagnitude, -.greatestFiniteMagnitude,
        88.72283,
        88.72284, 89, 1000, -103.97, -104, -104.1, 0x1p-149,
      ]
      let y = exponentials(x, on: set)
      #expect(y[0...1] == [1, 1])
      #expect(y[2] == .infinity && y[4] == .infinity && y[7...9].allSatisfy { $0 == .infinity })
      #expect(y[3] == 0 && y[5] == 0 && y[11...12].allSatisfy { $0 == 0 })
      #expect(y[6].isFinite && y[6] > 3.4e38)
      #expect(y[10] == .leastNonzeroMagnitude)
      #expect(y[13] == 1)
      #expect(exponentials([.nan, 1, .nan], on: set).map(\.isNaN) == [true, false, true])
      #expect(exponentials([Float](repeating: .nan, count: 9), on: set).allSatisfy { $0.isNaN })
    }

    @Test(arguments: [0] + fastSets)
    func `exp below the smallest normal number is within one unit`(_ set: Int32) {
      let x = stride(from: Float(-104), to: -87, by: 0.0137).map { $0 }
      for (x, y) in zip(x, exponentials(x, on: set)) {
        let exact = exp(Double(x))
        #expect((Double(y) - exact).magnitude <= exact * 2e-7 + 0x1p-149)
      }
    }

    @Test(arguments: fastSets)
    func `have the bits of the scalar reference`(_ set: Int32) {
      for count in lengths {
        var random = Random(state: UInt64(count))
        let (x, w) = (random.floats(count), random.floats(count))
        let wide = random.floats(count).map { $0 * 110 }
        let angles = random.floats(count)
        func all() -> [[UInt32]] {
          var results: [[Float]] = []
          func keep(_ body: (inout [Float]) -> Void, from start: [Float]? = nil) {
            var y = start ?? [Float](repeating: 0, count: count)
            body(&y)
            results.append(y)
          }
          keep { qk_rms_norm(x, w, 1e-6, &$0, count) }
          keep({ qk_add(&$0, w, count) }, from: x)
          keep({ qk_scale(&$0, 0.3, count) }, from: x)
          keep { qk_silu_multiply(wide, w, &$0, count) }
          keep { qk_exp(wide, &$0, count) }
          keep({ qk_rope_halves(&$0, angles, w, count) }, from: x + w)
          keep({ qk_rope_pairs(&$0, angles, w, count) }, from: x + w)
          let reductions = [
            qk_log_sum_exp(wide, count).bitPattern, UInt64(bitPattern: qk_argmax(x, count)),
          ]
          return results.map(bits) + [reductions.map { UInt32(truncatingIfNeeded: $0 ^ $0 >> 32) }]
        }
        #expect(on(set, all) == on(0, all), "\(count) elements")
      }
    }

    @Test(arguments: [0] + fastSets)
    func `a norm scales to mean square one`(_ set: Int32) {
      for count in lengths.dropFirst() {
        var random = Random(state: 5)
        let (x, w) = (random.floats(count), random.floats(count))
        var y = x
        on(set) {
          y.withUnsafeMutableBufferPointer {
            qk_rms_norm($0.baseAddress, w, 1e-6, $0.baseAddress, count)
          }
        }
        let mean = x.reduce(0) { $0 + Double($1) * Double($1) } / Double(count)
        for k in 0..<count {
          let exact = Double(x[k]) * Double(w[k]) / (mean + 1e-6).squareRoot()
          // Half a unit each for the sum's square root, division and two products, and lanes of the
          // sum.
          #expect((Double(y[k]) - exact).magnitude <= 6 * unit(exact))
        }
      }
      var zeros = [Float](repeating: 0, count: 9)
      on(set) {
        qk_rms_norm(
          [Float](repeating: 0, count: 9), [Float](repeating: 1, count: 9), 1e-6, &zeros, 9)
      }
      #expect(zeros == [Float](repeating: 0, count: 9))
    }

    @Test(arguments: [0] + fastSets)
    func `silu times up, also over its inputs`(_ set: Int32) {
      var gate = (0..<41).map { (Float($0) - 20) * 5.3 }
      let up = gate.map { 1 + $0 / 200 }
      let exact = zip(gate, up).map { g, u in Double(g) / (1 + exp(-Double(g))) * Double(u) }
      on(set) {
        gate.withUnsafeMutableBufferPointer {
          qk_silu_multiply($0.baseAddress, up, $0.baseAddress, 41)
        }
      }
      for (value, exact) in zip(gate, exact) {
        // exp contributes at most 2e-7, four operations half a unit each. Below -88.72 exp(-gate)
        // is infinite and the result zero, instead of at most 89 exp(-88.72).
        #expect((Double(value) - exact).magnitude <= exact.magnitude * 5e-7 + 3e-37)
      }
    }

    @Test(arguments: [0] + fastSets)
    func `rotation turns each pair by its angle`(_ set: Int32) {
      for half in [1, 3, 4, 8, 13, 32, 64] {
        let angles = (0..<half).map { Double($0) * 0.37 + 0.1 }
        let (cosine, sine) = (angles.map { Float(cos($0)) }, angles.map { Float(sin($0)) })
        var random = Random(state: 8)
        let x = random.floats(2 * half)
        var (halves, pairs) = (x, x)
        on(set) {
          qk_rope_halves(&halves, cosine, sine, half)
          qk_rope_pairs(&pairs, cosine, sine, half)
        }
        for j in 0..<half {
          let (c, s) = (Double(cosine[j]), Double(sine[j]))
          for (y, a, b) in [(halves, j, j + half), (pairs, 2 * j, 2 * j + 1)] {
            // Two products and a sum of numbers below 1.
            #expect((Double(y[a]) - (Double(x[a]) * c - Double(x[b]) * s)).magnitude < 0x1p-22)
            #expect((Double(y[b]) - (Double(x[b]) * c + Double(x[a]) * s)).magnitude < 0x1p-22)
          }
        }
      }
    }
  }
}
