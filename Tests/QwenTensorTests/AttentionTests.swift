import Glibc
import QwenTensor
import Testing

private let count = 150

/// Queries, keys and values of one sequence before rotation.
private struct Inputs {
  let query: [Float]
  let key: [Float]
  let value: [Float]

  init() {
    var random = Random(state: 77)
    query = random.floats(count * 96).map { $0 * 3 }
    key = random.floats(count * 32).map { $0 * 3 }
    value = random.floats(count * 32)
  }

  func rows(_ values: [Float], _ columns: Int, _ range: Range<Int>) throws -> Rows {
    let buffer = try FloatBuffer(count: range.count * columns)
    for index in 0..<range.count * columns {
      buffer.pointer[index] = values[range.lowerBound * columns + index]
    }
    return try Rows(buffer, tokens: range.count, columns: columns)
  }
}

/// Runs the sequence in chunks through a cache and gives the outputs of all tokens.
private func attend(
  _ inputs: Inputs, chunks: [Range<Int>], threads: Int, element: KVShape.Element,
  window: Int? = nil, cache existing: KVCache? = nil
) throws -> [Float] {
  let shape = AttentionShape(
    queryHeads: 6, kvHeads: 2, headDim: 16, pairing: .halves, window: window)
  let compute = try Compute(
    threads: threads, isExact: true, control: RunControl(), maximumTokens: count,
    maximumColumns: 96)
  let cache =
    try existing
    ?? KVCache(
      shape: KVShape(layers: 2, heads: 2, headDim: 16, element: element), capacity: 200)
  let table = try RotaryTable(maximumTokens: count, half: 8)
  let frequencies = RotaryFrequencies(base: 10_000, dim: 16)
  let scratch = try AttentionScratch(threads: threads, shape: shape)
  var result: [Float] = []
  WorkerPool.shared.retain()
  defer { WorkerPool.shared.release() }
  for chunk in chunks {
    let query = try inputs.rows(inputs.query, 96, chunk)
    let key = try inputs.rows(inputs.key, 32, chunk)
    let value = try inputs.rows(inputs.value, 32, chunk)
    let out = try Rows(FloatBuffer(count: chunk.count * 96), tokens: chunk.count, columns: 96)
    let spans = [SequenceSpan(cache: cache, rows: 0..<chunk.count, position: chunk.lowerBound)]
    try WorkerPool.shared.exclusive {
      try cache.reserve(chunk.upperBound)
      for row in 0..<chunk.count {
        table.fill(row: row, position: chunk.lowerBound + row, frequencies)
      }
      try compute.rotateAndStore(
        query: query, key: key, value: value, norms: nil, shape: shape, table: table, layer: 1,
        spans: spans)
      try compute.attend(
        query: query, out: out, shape: shape, layer: 1, spans: spans, scratch: scratch)
      cache.commit(chunk.upperBound)
    }
    result += out.array()
  }
  return result
}

/// The same in double, all at once.
private func reference(_ inputs: Inputs, window: Int?) -> [Double] {
  func rotated(_ x: [Float], _ at: Int, _ position: Int) -> [Double] {
    (0..<16).map { k in
      let j = k % 8
      let angle = Double(Float(position) * Float(1 / pow(10_000, Double(j) / 8)))
      let (a, b) = (Double(x[at + j]), Double(x[at + j + 8]))
      return k < 8 ? a * cos(angle) - b * sin(angle) : b * cos(angle) + a * sin(angle)
    }
  }
  let keys = (0..<count).map { t in (0..<2).map { rotated(inputs.key, t * 32 + $0 * 16, t) } }
  var result: [Double] = []
  for t in 0..<count {
    for head in 0..<6 {
      let q = rotated(inputs.query, t * 96 + head * 16, t)
      let range = max(0, t + 1 - (window ?? count))...t
      let scores = range.map { p in
        zip(q, keys[p][head / 3]).reduce(0.0) { $0 + $1.0 * $1.1 } / 4
      }
      let most = scores.max()!
      let weights = scores.map { exp($0 - most) }
      let total = weights.reduce(0, +)
      for k in 0..<16 {
        var sum = 0.0
        for (p, weight) in zip(range, weights) {
          sum += weight / total * Double(inputs.value[p * 32 + head / 3 * 16 + k])
        }
        result.append(sum)
      }
    }
  }
  return result
}

@Suite struct `Attention of a sequence` {
  @Test(arguments: KVShape.Element.allCases, [nil, 20, 64] as [Int?])
  func `is softmax over the positions it sees`(_ element: KVShape.Element, _ window: Int?) throws {
    let inputs = Inputs()
    let values = try attend(
      inputs, chunks: [0..<count], threads: 2, element: element, window: window)
    // Scores of up to 36: in float a few units of 2^-19; half precision keeps 11 bits of keys and
    // values.
    // 8 bits keep 7 of the largest; 4 bits are held by the tests of their kernels.
    let limits: [KVShape.Element: Double] = [.f32: 2e-5, .f16: 2e-2, .q8: 1e-1, .q4: 2]
    let limit = limits[element] ?? 0
    for (value, exact) in zip(values, reference(inputs, window: window)) {
      #expect((Double(value) - exact).magnitude < limit)
    }
  }

  @Test(arguments: KVShape.Element.allCases, [nil, 20] as [Int?])
  func `does not depend on chunks or threads`(_ element: KVShape.Element, _ window: Int?) throws {
    let inputs = Inputs()
    func run(_ chunks: [Range<Int>], _ threads: Int) throws -> [UInt32] {
      bits(
        try attend(inputs, chunks: chunks, threads: threads, element: element, window: window))
    }
    let whole = try run([0..<count], 1)
    #expect(try run([0..<count], 3) == whole)
    #expect(try run((0..<count).map { $0..<$0 + 1 }, 1) == whole)
    #expect(try run([0..<1, 1..<63, 63..<66, 66..<128, 128..<count], 2) == whole)
  }

  @Test func `going back and on again gives what a fresh cache gives`() throws {
    let inputs = Inputs()
    let cache = try KVCache(
      shape: KVShape(layers: 2, heads: 2, headDim: 16, element: .f16), capacity: count)
    let whole = try attend(
      inputs, chunks: [0..<count], threads: 1, element: .f16, cache: cache)
    let full = cache.byteCount
    cache.truncate(70)
    #expect(cache.length == 70 && cache.byteCount < full)
    let again = try attend(
      inputs, chunks: [70..<count], threads: 1, element: .f16, cache: cache)
    #expect(bits(again) == bits(Array(whole[(70 * 96)...])))
    #expect(throws: TensorError.self) { try cache.reserve(count + 1) }
    cache.truncate(0)
    #expect(cache.byteCount == 0)
  }
}
