internal import Glibc
internal import QwenTensor

/// Chooses tokens from logits, in the order of transformers: penalties, then temperature, top-k, top-p, min-p.
///
/// Belongs to one run. Allocates its working memory once.
package struct Sampler {
  package let options: SamplingOptions
  /// The seed in force.
  package let seed: UInt64
  private var generator: RandomGenerator
  private var counts: TokenCounts
  private var candidates: [Candidate] = []

  /// A token that may be drawn.
  struct Candidate {
    var id: Int32
    var logit: Float
    /// Not normalised.
    var weight: Double = 0
  }

  /// `prompt` counts for the repetition penalty. Ids from `usable` on are never chosen.
  package init(_ options: SamplingOptions, prompt: [Int32], usable: Int) {
    self.options = options
    seed = options.seed ?? RandomGenerator.systemSeed()
    generator = RandomGenerator(seed: seed)
    counts = TokenCounts(prompt: prompt, usable: usable)
  }

  /// Counts a generated token for the penalties.
  package mutating func accept(_ id: Int32) { counts.add(id) }

  /// The next token. `logits` has one value for each row of the vocabulary and is changed; `banned` tokens
  /// are not chosen. Nil if no token has a finite logit.
  package mutating func choose(
    _ logits: UnsafeMutableBufferPointer<Float>, banned: Set<Int32>
  ) -> Int32? {
    unsafe penalize(logits)
    for id in banned where logits.indices.contains(Int(id)) {
      unsafe logits[Int(id)] = -.infinity
    }
    let usable = min(logits.count, counts.usable)
    let used = unsafe UnsafeBufferPointer(rebasing: logits[0..<usable])
    guard let best = unsafe LogitRow.argmax(used), unsafe used[best] > -.infinity else {
      return nil
    }
    guard options.isSampling else { return Int32(truncatingIfNeeded: best) }
    unsafe gather(used, best: used[best])
    return draw()
  }

  private func penalize(_ logits: UnsafeMutableBufferPointer<Float>) {
    let repetition = Float(options.repetitionPenalty)
    if repetition != 1 {
      for id in counts.seen where logits.indices.contains(Int(id)) {
        let logit = unsafe logits[Int(id)]
        unsafe logits[Int(id)] = logit < 0 ? logit * repetition : logit / repetition
      }
    }
    if options.frequencyPenalty != 0 || options.presencePenalty != 0 {
      for (id, count) in counts.generated where logits.indices.contains(Int(id)) {
        unsafe logits[Int(id)] -=
          Float(options.frequencyPenalty) * Float(count) + Float(options.presencePenalty)
      }
    }
  }

  /// Leaves the tokens that survive every filter in `candidates`, most likely first, ties by id.
  private mutating func gather(_ logits: UnsafeBufferPointer<Float>, best: Float) {
    let temperature = options.temperature
    func weight(_ logit: Float) -> Double { exp((Double(logit) - Double(best)) / temperature) }
    candidates.removeAll(keepingCapacity: true)
    for index in logits.indices where unsafe logits[index] > -.infinity {
      unsafe candidates.append(
        Candidate(id: Int32(truncatingIfNeeded: index), logit: logits[index]))
    }
    candidates.sort { $0.logit > $1.logit || ($0.logit == $1.logit && $0.id < $1.id) }
    if options.topK > 0, options.topK < candidates.count {
      // Tokens as likely as the k-th stay.
      let last = candidates[options.topK - 1].logit
      var end = options.topK
      while end < candidates.count, candidates[end].logit == last { end += 1 }
      candidates.removeLast(candidates.count - end)
    }
    var total = 0.0
    for index in candidates.indices {
      candidates[index].weight = weight(candidates[index].logit)
      total += candidates[index].weight
    }
    if options.topP < 1 {
      var sum = 0.0
      var end = 0
      while end < candidates.count, end == 0 || sum < options.topP * total {
        sum += candidates[end].weight
        end += 1
      }
      candidates.removeLast(candidates.count - end)
    }
    if options.minP > 0 {
      let least = options.minP * (candidates.first?.weight ?? 0)
      candidates.removeAll { $0.weight < least }
    }
  }

  private mutating func draw() -> Int32? {
    let total = candidates.reduce(0) { $0 + $1.weight }
    let target = generator.uniform() * total
    var sum = 0.0
    for candidate in candidates {
      sum += candidate.weight
      if sum > target { return candidate.id }
    }
    return candidates.last?.id
  }
}

/// Which tokens occurred, and how often each was generated.
private struct TokenCounts {
  let usable: Int
  private(set) var seen: Set<Int32>
  private(set) var generated: [Int32: Int] = [:]

  init(prompt: [Int32], usable: Int) {
    seen = Set(prompt)
    self.usable = usable
  }

  mutating func add(_ id: Int32) {
    seen.insert(id)
    generated[id, default: 0] += 1
  }
}
