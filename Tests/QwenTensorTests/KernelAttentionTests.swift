import CQwenKernels
import Glibc
import Testing

/// The running state of several queries.
private struct State: Equatable {
  var maximum: [Float]
  var sum: [Float]
  var out: [Float]

  init(queries: Int, stride: Int) {
    maximum = [Float](repeating: -.infinity, count: queries)
    sum = [Float](repeating: 0, count: queries)
    out = [Float](repeating: 0, count: queries * stride)
  }

  /// Takes in what the same queries made of positions behind.
  mutating func join(_ other: State, queries: Int, stride: Int) {
    qk_attention_merge(
      queries, stride, &maximum, &sum, &out, other.maximum, other.sum, other.out)
  }

  var bitPatterns: [UInt32] { bits(maximum) + bits(sum) + bits(out) }
}

/// Queries over pages of keys and values; strides are dim + 3.
private struct Problem {
  let queries: Int
  let dim: Int
  let positions: Int
  let isHalf: Bool
  var q: [Float]
  var keys: [Float]
  var values: [Float]
  var stride: Int { dim + 3 }

  init(queries: Int, dim: Int, positions: Int, isHalf: Bool, seed: UInt64 = 6) {
    var random = Random(state: seed)
    (self.queries, self.dim, self.positions, self.isHalf) = (queries, dim, positions, isHalf)
    q = random.floats(queries * (dim + 3)).map { $0 * 2 }
    // Half precision holds these exactly.
    keys = random.floats(positions * dim).map { Float(Float16($0)) }
    values = random.floats(positions * dim).map { Float(Float16($0)) }
  }

  /// Query i sees positions first(i) ..< visible(i); `part` of the queries are computed.
  func run(
    _ part: Range<Int>? = nil, first: (Int) -> Int, visible: (Int) -> Int
  ) -> State {
    var state = State(queries: queries, stride: stride)
    let part = part ?? 0..<queries
    let size = Int(QK_PAGE_POSITIONS)
    for start in Swift.stride(from: 0, to: positions, by: size) {
      let end = min(start + size, positions)
      let to = part.map { Int32(min(max(visible($0) - start, 0), end - start)) }
      let from = zip(part, to).map { min(Int32(max(first($0) - start, 0)), $1) }
      let (k, v) = (run(keys, start..<end, isKey: true), run(values, start..<end, isKey: false))
      let next = run(keys, min(end, positions - 1)..<positions, isKey: true)
      q.withUnsafeBufferPointer { q in
        state.maximum.withUnsafeMutableBufferPointer { maximum in
          state.sum.withUnsafeMutableBufferPointer { sum in
            state.out.withUnsafeMutableBufferPointer { out in
              let row = part.lowerBound * stride
              let q = q.baseAddress! + row
              let (m, s) = (
                maximum.baseAddress! + part.lowerBound, sum.baseAddress! + part.lowerBound
              )
              let o = out.baseAddress! + row
              let attend = isHalf ? qk_attention_page_f16 : qk_attention_page_f32
              next.withUnsafeBytes { next in
                attend(
                  q, stride, part.count, k, v, end < positions ? next.baseAddress : nil, dim, from,
                  to, m, s, o, stride)
              }
            }
          }
        }
      }
    }
    return state
  }

  /// A page of keys or values; what is stored nowhere is NaN.
  private func run(_ rows: [Float], _ range: Range<Int>, isKey: Bool) -> [UInt8] {
    let bytes = isHalf ? qk_kv_f16_bytes(dim) : qk_kv_f32_bytes(dim)
    var run = [UInt8](repeating: 0xff, count: bytes)
    for (place, p) in range.prefix(Int(QK_PAGE_POSITIONS)).enumerated() {
      let row = Array(rows[p * dim..<p * dim + dim])
      switch (isHalf, isKey) {
      case (true, true): qk_kv_f16_store_key(row, dim, place, &run)
      case (true, false): qk_kv_f16_store_value(row, dim, place, &run)
      case (false, true): qk_kv_f32_store_key(row, dim, place, &run)
      case (false, false): qk_kv_f32_store_value(row, dim, place, &run)
      }
    }
    return run
  }

  /// Softmax of all scores at once in double, times the values.
  func exact(_ i: Int, _ range: Range<Int>) -> [Double] {
    let scores = range.map { p in
      (0..<dim).reduce(0.0) { $0 + Double(q[i * stride + $1]) * Double(keys[p * dim + $1]) }
    }
    let weights = scores.map { exp($0 - scores.max()!) }
    let total = weights.reduce(0, +)
    return (0..<dim).map { k in
      zip(range, weights).reduce(0.0) { $0 + $1.1 / total * Double(values[$1.0 * dim + k]) }
    }
  }
}

extension `Kernels` {
  @Suite struct `Attention over pages` {
    @Test(arguments: [0] + fastSets, [false, true])
    func `is softmax in double precision`(_ set: Int32, _ isHalf: Bool) {
      for (dim, positions, queries) in [(64, 130, 5), (128, 64, 8), (20, 65, 3), (3, 7, 2)] {
        let problem = Problem(queries: queries, dim: dim, positions: positions, isHalf: isHalf)
        let first = { $0 * 2 % positions }
        let visible = { max(positions - queries + 1 + $0, 1) }
        let state = on(set) { problem.run(first: first, visible: visible) }
        for i in 0..<queries where first(i) < visible(i) {
          let exact = problem.exact(i, first(i)..<visible(i))
          for k in 0..<dim {
            let value = Double(state.out[i * problem.stride + k] / state.sum[i])
            // Scores up to dim / 2 lose dim / 8 half units; a weight follows their absolute error.
            #expect((value - exact[k]).magnitude < 0x1p-24 * Double(dim * dim / 16 + 200))
          }
        }
      }
    }

    @Test(arguments: fastSets, [false, true])
    func `has the bits of the scalar reference`(_ set: Int32, _ isHalf: Bool) {
      for dim in [1, 7, 8, 16, 24, 40, 64, 80, 128, 132] {
        for queries in [1, 2, 3, 4, 5, 6, 7, 8, 9, 15] {
          let problem = Problem(queries: queries, dim: dim, positions: 77, isHalf: isHalf)
          let shapes: [((Int) -> Int, (Int) -> Int)] = [
            ({ _ in 0 }, { 77 - queries + 1 + $0 }), ({ _ in 0 }, { _ in 77 }),
            ({ $0 * 5 }, { $0 * 11 + 1 }), ({ $0 * 8 }, { $0 * 8 + 8 }),
            ({ _ in 0 }, { $0 % 3 == 1 ? 0 : 66 }), ({ 70 - $0 }, { 72 - $0 }),
          ]
          for (first, visible) in shapes {
            func run() -> [UInt32] { problem.run(first: first, visible: visible).bitPatterns }
            #expect(on(set, run) == on(0, run), "\(queries) queries of \(dim)")
          }
        }
      }
    }

    @Test(arguments: [0] + fastSets, [false, true])
    func `does not depend on the queries beside it`(_ set: Int32, _ isHalf: Bool) {
      let problem = Problem(queries: 9, dim: 72, positions: 140, isHalf: isHalf)
      let visible = { 120 + 2 * $0 }
      let first = { $0 * 9 }
      let whole = on(set) { problem.run(first: first, visible: visible) }
      for i in 0..<9 {
        for count in 1...(9 - i) {
          let part = on(set) { problem.run(i..<i + count, first: first, visible: visible) }
          for j in 0..<9 {
            let row = j * problem.stride..<j * problem.stride + problem.dim
            if (i..<i + count).contains(j) {
              #expect(part.out[row] == whole.out[row] && part.sum[j] == whole.sum[j])
            } else {
              #expect(part.out[row].allSatisfy { $0 == 0 } && part.maximum[j] == -.infinity)
            }
          }
        }
      }
    }

    @Test(arguments: [0] + fastSets, [false, true])
    func `never looks at hidden positions`(_ set: Int32, _ isHalf: Bool) {
      var problem = Problem(queries: 6, dim: 16, positions: 64, isHalf: isHalf)
      let expected = on(set) { problem.run(first: { 3 + $0 }, visible: { 40 + $0 }) }
      for p in Array(0..<3) + Array(45..<64) {
        for k in 0..<16 {
          problem.keys[p * 16 + k] = .nan
          problem.values[p * 16 + k] = .infinity
        }
      }
      #expect(on(set) { problem.run(first: { 3 + $0 }, visible: { 40 + $0 }) } == expected)
      // A position that only the neighbour sees.
      for k in 0..<16 { problem.values[44 * 16 + k] = .nan }
      let state = on(set) { problem.run(first: { 3 + $0 }, visible: { 40 + $0 }) }
      for i in 0..<5 {
        #expect(
          state.out[i * problem.stride..<i * problem.stride + 16]
            == expected.out[i * problem.stride..<i * problem.stride + 16])
      }
      #expect(state.out[5 * problem.stride].isNaN)
    }

    @Test(arguments: [0] + fastSets)
    func `shows a NaN that it sees, and survives scores of minus infinity`(_ set: Int32) {
      var problem = Problem(queries: 1, dim: 8, positions: 10, isHalf: false)
      problem.q = [Float](repeating: 1, count: 11)
      problem.keys = [Float](repeating: -.infinity, count: 80)
      let none = on(set) { problem.run(first: { _ in 0 }, visible: { _ in 10 }) }
      #expect(none.sum == [0] && none.maximum == [-.infinity])
      problem.keys.replaceSubrange(40..<48, with: [Float](repeating: 0, count: 8))
      let one = on(set) { problem.run(first: { _ in 0 }, visible: { _ in 10 }) }
      #expect(one.sum == [1] && Array(one.out[0..<8]) == Array(problem.values[40..<48]))
      problem.keys[3] = .nan
      let broken = on(set) { problem.run(first: { _ in 0 }, visible: { _ in 10 }) }
      #expect(broken.sum[0].isNaN && broken.out[0..<8].allSatisfy { $0.isNaN })
    }

    @Test(arguments: [0] + fastSets)
    func `over two ranges are joined, and nothing is joined without a trace`(_ set: Int32) {
      let problem = Problem(queries: 3, dim: 24, positions: 192, isHalf: true)
      let stride = problem.stride
      func part(_ range: Range<Int>) -> State {
        on(set) {
          problem.run(first: { _ in range.lowerBound }, visible: { _ in range.upperBound })
        }
      }
      var joined = part(0..<100)
      let behind = part(100..<192)
      joined.join(behind, queries: 3, stride: stride)
      for i in 0..<3 {
        let exact = problem.exact(i, 0..<192)
        for k in 0..<24 {
          let value = Double(joined.out[i * stride + k] / joined.sum[i])
          #expect((value - exact[k]).magnitude < 0x1p-15)
        }
      }
      let before = joined
      joined.join(State(queries: 3, stride: stride), queries: 3, stride: stride)
      #expect(joined == before)
      joined = State(queries: 3, stride: stride)
      joined.out = [Float](repeating: -0.0, count: 3 * stride)
      joined.join(behind, queries: 3, stride: stride)
      #expect(joined == behind)
    }
  }
}
