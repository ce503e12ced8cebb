internal import Glibc
internal import QwenTensor

/// Chooses tokens from logits, in the order of transformers: bias and penalties, temperature, top-k, top-p,
/// min-p, typical, epsilon, eta; then XTC.
///
/// Belongs to one run.
package struct Sampler {
  package let options: SamplingOptions
  /// The seed in force.
  package let seed: UInt64
  private let usable: Int
  private var generator: RandomGenerator
  private var history: TokenHistory
  private var candidates = Candidates()
  /// Mirostat's bound on surprise, in bits.
  private var surpriseBound = 0.0

  /// `prompt` counts for the repetition penalties. Ids from `usable` on are never chosen. Up to `expected`
  /// tokens are accepted without more memory.
  package init(_ options: SamplingOptions, prompt: [Int32], usable: Int, expected: Int = 0) {
    self.options = options
    self.usable = usable
    seed = options.seed ?? RandomGenerator.systemSeed()
    generator = RandomGenerator(seed: seed)
    history = TokenHistory(prompt: prompt, options, expected: expected)
    surpriseBound = 2 * (options.mirostat?.tau ?? 0)
  }

  /// Prompt and accepted tokens.
  package var tokens: [Int32] { history.tokens }

  /// Takes these tokens for all that was said; each counts for every penalty.
  mutating func setHistory(_ tokens: [Int32]) {
    history = TokenHistory(prompt: [], options, expected: tokens.count)
    for id in tokens { history.add(id) }
  }

  /// Counts a generated token for the penalties.
  package mutating func accept(_ id: Int32) { history.add(id) }

  /// The next token. `logits` has one value for each row of the vocabulary and is changed; `banned` tokens
  /// are not chosen. Nil if no token has a finite logit.
  package mutating func choose(
    _ logits: UnsafeMutableBufferPointer<Float>, banned: Set<Int32>
  ) -> Int32? {
    guard let best = unsafe prepare(logits, banned: banned) else { return nil }
    guard options.isSampling else { return Int32(truncatingIfNeeded: best) }
    unsafe filter(logits, best: best)
    return draw()
  }

  /// The tokens that `choose` may draw and their probabilities, likeliest first.
  package mutating func survivors(
    _ logits: UnsafeMutableBufferPointer<Float>, banned: Set<Int32>
  ) -> [(id: Int32, probability: Double)] {
    guard let best = unsafe prepare(logits, banned: banned) else { return [] }
    unsafe filter(logits, best: best)
    let total = candidates.total
    return candidates.items.sorted {
      $0.weight > $1.weight || ($0.weight == $1.weight && $0.id < $1.id)
    }
    .map { ($0.id, $0.weight / total) }
  }

  /// Applies what holds for greedy choice too. Returns the likeliest token.
  private func prepare(
    _ logits: UnsafeMutableBufferPointer<Float>, banned: Set<Int32>
  ) -> Int? {
    unsafe history.apply(options, to: logits)
    for id in banned where logits.indices.contains(Int(id)) {
      unsafe logits[Int(id)] = -.infinity
    }
    let used = unsafe UnsafeBufferPointer(rebasing: logits[0..<min(logits.count, usable)])
    guard let best = unsafe LogitRow.argmax(used), unsafe used[best] > -.infinity else {
      return nil
    }
    return best
  }

  private mutating func filter(_ logits: UnsafeMutableBufferPointer<Float>, best: Int) {
    let used = unsafe UnsafeBufferPointer(rebasing: logits[0..<min(logits.count, usable)])
    let top = unsafe used[best]
    let isMirostat = options.mirostat != nil
    unsafe candidates.gather(
      used, best: top, temperature: options.temperature, topK: isMirostat ? 0 : options.topK,
      reach: reach)
    if isMirostat { return candidates.keep(surprise: surpriseBound) }
    if options.topP < 1 { candidates.keepTop(mass: options.topP) }
    if options.minP > 0 { candidates.keep(fractionOfBest: options.minP) }
    if options.typicalP < 1 { candidates.keepTypical(mass: options.typicalP) }
    if options.epsilonCutoff > 0 { candidates.keep(probability: options.epsilonCutoff) }
    if options.etaCutoff > 0 { candidates.keepEta(options.etaCutoff) }
    if options.xtcProbability > 0, generator.uniform() < options.xtcProbability {
      candidates.excludeTop(threshold: options.xtcThreshold)
    }
  }

  /// How many temperatures below the best a token may lie and still matter.
  ///
  /// Where a filter drops the tail, 36: all that lies below weighs less than a part in 10^10. Otherwise as
  /// far as a double reaches.
  private var reach: Double {
    options.mirostat != nil || options.topP < 0.999_999 || options.minP > 1e-9 ? 36 : 745
  }

  private mutating func draw() -> Int32? {
    let total = candidates.total
    let target = generator.uniform() * total
    var sum = 0.0
    var drawn = candidates.items.last
    for candidate in candidates.items {
      sum += candidate.weight
      if sum > target {
        drawn = candidate
        break
      }
    }
    if let mirostat = options.mirostat, let drawn {
      surpriseBound -= mirostat.eta * (-log2(drawn.weight / total) - mirostat.tau)
    }
    return drawn?.id
  }
}
