import Glibc
import QwenTensor
import Testing

private let count = 150

/// Queries, keys and values of one sequence before rotation.
private struct Inputs {
  let query: [Float]
  let key: [Float]
  let value: [Float]
  let count: Int

  init(count: Int = 150) {
    self.count = count
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
    threads: threads, isExact: true, control: RunControl(), maximumTokens: inputs.count,
    maximumColumns: 96)
  let cache =
    try existing
    ?? KVCache(
      shape: KVShape(layers: 2, heads: 2, headDim: 16, element: element),
      capacity: inputs.count + 50)
  let table = try RotaryTable(maximumTokens: inputs.count, half: 8)
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
private func reference(
  _ inputs: Inputs, window: Int?, tokens: Range<Int>? = nil
) -> [Double] {
  let count = inputs.count
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
  for t in tokens ?? 0..<count {
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

  /// Beyond a stretch of 1,024 positions.
  @Test(arguments: KVShape.Element.allCases, [nil, 1200] as [Int?])
  func `is the same however stretches are shared out`(
    _ element: KVShape.Element, _ window: Int?
  ) throws {
    let inputs = Inputs(count: 2600)
    func run(_ chunks: [Range<Int>], _ threads: Int) throws -> [UInt32] {
      bits(
        try attend(inputs, chunks: chunks, threads: threads, element: element, window: window))
    }
    let whole = try attend(
      inputs, chunks: [0..<2600], threads: 1, element: element, window: window)
    let edges =
      [0, 900, 1023, 1024, 1025, 1031, 2047, 2048, 2049, 2300, 2301, 2308, 2590]
      + Array(2593...2600)
    let chunks = zip(edges, edges.dropFirst()).map { $0..<$1 }
    for threads in 1...3 { #expect(try run(chunks, threads) == bits(whole)) }
    guard element == .f32 else { return }
    let last = 2595..<2600
    for (value, exact) in zip(
      whole.suffix(5 * 96), reference(inputs, window: window, tokens: last))
    {
      #expect((Double(value) - exact).magnitude < 1e-4)
    }
  }

  @Test(arguments: KVShape.Element.allCases)
  func `goes on from keys and values that were written out`(_ element: KVShape.Element) throws {
    let inputs = Inputs()
    let shape = KVShape(layers: 2, heads: 2, headDim: 16, element: element)
    let cache = try KVCache(shape: shape, capacity: count)
    let whole = try attend(inputs, chunks: [0..<100, 100..<count], threads: 1, element: element)
    _ = try attend(inputs, chunks: [0..<100], threads: 1, element: element, cache: cache)
    var bytes: [UInt8] = []
    cache.forEachRun { bytes += $0 }
    #expect(bytes.count == KVCache.runBytes(shape, positions: 100))
    let copy = try KVCache(shape: shape, capacity: count)
    var place = 0
    try copy.fill(positions: 100) { run in
      run.copyBytes(from: bytes[place..<place + run.count])
      place += run.count
    }
    #expect(copy.length == 100 && place == bytes.count)
    let rest = try attend(
      inputs, chunks: [100..<count], threads: 1, element: element, cache: copy)
    #expect(bits(rest) == bits(Array(whole[(100 * 96)...])))
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
