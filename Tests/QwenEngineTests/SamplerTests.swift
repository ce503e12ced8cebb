import Glibc
import QwenEngine
import QwenFormats
import Testing

/// What may be drawn, held against transformers (Tests/Tools/sampling_cases.py) and against rules worked out
/// by hand.
struct SamplerTests {
  @Test func `survivors and probabilities equal those of transformers`() throws {
    let found = try SamplingCase.all()
    let cases = try #require(found)
    #expect(cases.count == 2000)
    var wrong: [String] = []
    for (index, each) in cases.enumerated() {
      let found = each.survivors().sorted { $0.id < $1.id }
      let isEqual =
        found.map(\.id) == each.ids
        && zip(found, each.probabilities).allSatisfy { abs($0.probability - $1) < 2e-6 }
      if !isEqual { wrong.append("\(index): \(found) for \(each.ids) \(each.probabilities)") }
    }
    #expect(wrong.isEmpty, "\(wrong.count) cases: \(wrong.prefix(3).joined(separator: "\n"))")
  }

  @Test func `a seed repeats its draws and another does not`() {
    func draws(_ seed: UInt64) -> [Int32] {
      var options = SamplingOptions()
      options.isSampling = true
      options.seed = seed
      var sampler = Sampler(options, prompt: [], usable: 50)
      return (0..<64).compactMap { _ in sampler.pick(Array(repeating: 0, count: 50)) }
    }
    #expect(draws(7) == draws(7))
    #expect(draws(7) != draws(8))
  }

  @Test func `draws follow the probabilities`() {
    var options = SamplingOptions()
    options.isSampling = true
    options.seed = 1
    var sampler = Sampler(options, prompt: [], usable: 4)
    var counts = [0, 0, 0, 0]
    let shares = [0.1, 0.2, 0.3, 0.4]
    for _ in 0..<20_000 {
      if let id = sampler.pick(shares.map { Float(log($0)) }) { counts[Int(id)] += 1 }
    }
    let squares = zip(counts, shares).map { count, share in
      let wanted = share * 20_000
      return (Double(count) - wanted) * (Double(count) - wanted) / wanted
    }
    // Chi-square with 3 degrees of freedom: 16.3 is passed once in a thousand seeds.
    #expect(squares.reduce(0, +) < 16.3)
  }

  @Test func `rows beyond the usable tokens are never chosen`() {
    for isSampling in [false, true] {
      var options = SamplingOptions()
      options.isSampling = isSampling
      var sampler = Sampler(options, prompt: [], usable: 3)
      #expect(sampler.pick([0, 1, -50, 90, 90])! < 3)
    }
  }

  @Test func `a repetition costs what its length says`() {
    var options = SamplingOptions()
    options.dry.multiplier = 0.8
    options.dry.base = 2
    options.dry.allowedLength = 2
    // "1 2 3 4 ... 1 2 3": 4 would continue a repetition of three tokens, 9 one of one.
    var sampler = Sampler(options, prompt: [1, 2, 3, 4, 7, 3, 9, 1, 2, 3], usable: 10)
    #expect(sampler.penalties(count: 10) == [0, 0, 0, 0, 1.6, 0, 0, 0, 0, 0])
    options.dry.breakers = [2]
    sampler = Sampler(options, prompt: [1, 2, 3, 4, 7, 3, 9, 1, 2, 3], usable: 10)
    #expect(sampler.penalties(count: 10) == Array(repeating: 0, count: 10))
  }

  @Test func `counts of generated tokens alone feed frequency and presence`() {
    var options = SamplingOptions()
    options.frequencyPenalty = 0.5
    options.presencePenalty = 1
    var sampler = Sampler(options, prompt: [3], usable: 4)
    for id in [1, 1, 2] as [Int32] { sampler.accept(id) }
    #expect(sampler.penalties(count: 4) == [0, 2, 1.5, 0])
  }

  @Test func `top choices are excluded down to the least likely of them`() {
    var options = SamplingOptions()
    options.isSampling = true
    options.xtcProbability = 1
    options.xtcThreshold = 0.15
    var logits = [0.4, 0.3, 0.2, 0.1].map { Float(log($0)) }
    var sampler = Sampler(options, prompt: [], usable: 4)
    let kept = logits.withUnsafeMutableBufferPointer { unsafe sampler.survivors($0, banned: []) }
    #expect(kept.map(\.id) == [2, 3])
  }

  @Test func `mirostat keeps the surprise near its target`() throws {
    var options = SamplingOptions()
    options.isSampling = true
    options.seed = 3
    options.mirostat = MirostatOptions(tau: 2, eta: 0.1)
    var sampler = Sampler(options, prompt: [], usable: 256)
    let logits = (1...256).map { -log(Float($0)) }
    var surprise = 0.0
    for step in 0..<4000 {
      var copy = logits
      let kept = copy.withUnsafeMutableBufferPointer { unsafe sampler.survivors($0, banned: []) }
      let choice = sampler.pick(logits)
      let drawn = try #require(choice)
      let probability = try #require(kept.first { $0.id == drawn }?.probability)
      if step >= 1000 { surprise -= log2(probability) }
    }
    #expect(abs(surprise / 3000 - 2) < 0.05)
  }
}

extension Sampler {
  fileprivate mutating func pick(_ logits: [Float]) -> Int32? {
    var logits = logits
    return logits.withUnsafeMutableBufferPointer { unsafe choose($0, banned: []) }
  }

  /// What each of `count` logits of 0 loses.
  fileprivate mutating func penalties(count: Int) -> [Float] {
    var logits = [Float](repeating: 0, count: count)
    _ = logits.withUnsafeMutableBufferPointer { unsafe choose($0, banned: []) }
    return logits.map { -$0 + 0 }
  }
}

private struct SamplingCase {
  let options: SamplingOptions
  let logits: [Float]
  let prompt: [Int32]
  let answer: [Int32]
  let ids: [Int32]
  let probabilities: [Double]

  func survivors() -> [(id: Int32, probability: Double)] {
    var sampler = Sampler(options, prompt: prompt, usable: logits.count)
    for id in answer { sampler.accept(id) }
    var logits = logits
    return logits.withUnsafeMutableBufferPointer { unsafe sampler.survivors($0, banned: []) }
  }

  init?(_ value: JSONValue) throws {
    guard let object = value.object, let request = object["options"]?.object,
      let seed = object["seed"]?.int, let spread = object["spread"]?.int,
      let grain = object["grain"]?.int
    else { return nil }
    func ids(_ key: String) -> [Int32] {
      object[key]?.array?.compactMap { $0.int.flatMap { Int32(exactly: $0) } } ?? []
    }
    let checked = try OptionTable.generate.check(request)
    options = GenerationOptions(checked, defaults: JSONObject(), stopIDs: []).sampling
    (prompt, answer, self.ids) = (ids("prompt"), ids("answer"), ids("ids"))
    probabilities = object["probabilities"]?.array?.compactMap(\.double) ?? []
    var generator = RandomGenerator(seed: UInt64(seed))
    logits = (0..<40).map { _ in
      let sum = (0..<4).reduce(0) { total, _ in total + Int(generator.uniform() * 65536) }
      return Float(sum * spread * grain / 65536) / Float(grain)
    }
  }

  static func all() throws -> [SamplingCase]? {
    let path = #filePath.split(separator: "/").dropLast(2).joined(separator: "/")
    let file = try FileBytes(path: "/\(path)/Fixtures/sampling.json", mode: .copy)
    var bytes: [UInt8] = []
    var reader = ByteReader(file.all)
    while reader.remaining > 0 { bytes.append(try reader.u8()) }
    return try JSONValue(parsing: bytes).array?.compactMap { try SamplingCase($0) }
  }
}
