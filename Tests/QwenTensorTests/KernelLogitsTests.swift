import CQwenKernels
import Glibc
import Testing

extension `Kernels` {
  @Suite struct `Reductions of logits` {
    @Test(arguments: [0] + fastSets)
    func `argmax takes the lowest index on ties and never NaN`(_ set: Int32) {
      let nan = Float.nan
      let cases: [([Float], Int64)] = [
        ([], -1), ([nan], -1), ([nan, 1], 1), ([1, nan], 0), ([-.infinity], 0),
        ([nan, -.infinity, nan], 1), ([1, 3, 3, 2], 1), ([-0.0, 0.0], 0), ([0.0, -0.0], 0),
        ([.infinity, .infinity], 0), ([Float](repeating: nan, count: 20), -1),
        ([Float](repeating: 2, count: 20), 0),
      ]
      for (x, expected) in cases { #expect(on(set) { qk_argmax(x, x.count) } == expected) }
      for count in 1...40 {
        for place in 0..<count {
          var x = [Float](repeating: -1, count: count)
          x[place] = 5
          if place + 3 < count { x[place + 3] = 5 }
          if place > 0 { x[place - 1] = nan }
          #expect(on(set) { qk_argmax(x, count) } == Int64(place))
        }
      }
    }

    @Test(arguments: [0] + fastSets)
    func `log of the sum of exponentials`(_ set: Int32) {
      var random = Random(state: 2)
      for count in [1, 7, 8, 9, 1000] {
        let x = random.floats(count).map { $0 * 30 + 400 }
        let exact = 400 + log(x.reduce(0) { $0 + exp(Double($1) - 400) })
        // x - maximum is exact to half a unit of 60, exp to 2e-7.
        #expect((on(set) { qk_log_sum_exp(x, count) } - exact).magnitude < 3e-6)
      }
      func value(_ x: [Float]) -> Double { on(set) { qk_log_sum_exp(x, x.count) } }
      #expect(value([]) == -.infinity)
      #expect(value([-.infinity, -.infinity]) == -.infinity)
      #expect(value([0, -.infinity]) == 0)
      #expect(value([0, .infinity]) == .infinity)
      #expect(value([.infinity, .nan]).isNaN)
      #expect(value([Float](repeating: 1, count: 8) + [.nan]).isNaN)
      #expect(value([.nan] + [Float](repeating: 1, count: 8)).isNaN)
    }

    @Test(arguments: [0] + fastSets)
    func `a value that is not finite is found wherever it is`(_ set: Int32) {
      for count in 0...20 {
        var x = [Float](repeating: .greatestFiniteMagnitude, count: count)
        #expect(on(set) { qk_all_finite(x, count) } == 1)
        for place in 0..<count {
          for bad in [Float.nan, .infinity, -.infinity] {
            x[place] = bad
            #expect(on(set) { qk_all_finite(x, count) } == 0)
          }
          x[place] = -0.0
        }
      }
    }
  }
}
