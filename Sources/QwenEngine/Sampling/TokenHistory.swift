internal import Glibc

/// The tokens so far, and what they cost a token that repeats them.
struct TokenHistory {
  /// Prompt and answer.
  private(set) var tokens: [Int32]
  /// Distinct tokens of both; kept only for a repetition penalty.
  private(set) var seen: Set<Int32> = []
  /// How often each token was generated; kept only for a frequency or presence penalty.
  private(set) var generated: [Int32: Int] = [:]
  private let countsSeen: Bool
  private let countsGenerated: Bool

  /// Longest repetition that is measured.
  private static let longestMatch = 64

  /// `expected` tokens can be added without more memory.
  init(prompt: [Int32], _ options: SamplingOptions, expected: Int) {
    tokens = prompt
    tokens.reserveCapacity(prompt.count + expected)
    countsSeen = options.repetitionPenalty != 1
    countsGenerated = options.frequencyPenalty != 0 || options.presencePenalty != 0
    if countsSeen {
      seen.reserveCapacity(prompt.count + expected)
      seen.formUnion(prompt)
    }
    if countsGenerated { generated.reserveCapacity(expected) }
  }

  mutating func add(_ id: Int32) {
    tokens.append(id)
    if countsSeen { seen.insert(id) }
    if countsGenerated { generated[id, default: 0] += 1 }
  }

  /// Changes logits in the order bias, repetition, frequency and presence, repeated sequences.
  func apply(_ options: SamplingOptions, to logits: UnsafeMutableBufferPointer<Float>) {
    for (id, bias) in options.logitBias where logits.indices.contains(Int(id)) {
      unsafe logits[Int(id)] += bias
    }
    let repetition = Float(options.repetitionPenalty)
    if repetition != 1 {
      for id in seen where logits.indices.contains(Int(id)) {
        let logit = unsafe logits[Int(id)]
        unsafe logits[Int(id)] = logit < 0 ? logit * repetition : logit / repetition
      }
    }
    if options.frequencyPenalty != 0 || options.presencePenalty != 0 {
      for (id, count) in generated where logits.indices.contains(Int(id)) {
        unsafe logits[Int(id)] -=
          Float(options.frequencyPenalty) * Float(count) + Float(options.presencePenalty)
      }
    }
    if options.dry.multiplier > 0 {
      for (id, length) in repetitions(options.dry)
      where length >= options.dry.allowedLength && logits.indices.contains(Int(id)) {
        let power = pow(options.dry.base, Double(length - options.dry.allowedLength))
        // A cost that no logit can outweigh, and still a number.
        unsafe logits[Int(id)] -= Float(min(1e30, options.dry.multiplier * power))
      }
    }
    for id in completing(options.noRepeatNgram) where logits.indices.contains(Int(id)) {
      unsafe logits[Int(id)] = -.infinity
    }
  }

  /// The tokens that would complete a sequence of `length` tokens that occurred before.
  func completing(_ length: Int) -> Set<Int32> {
    guard length > 0, tokens.count >= length else { return [] }
    let tail = tokens.suffix(length - 1)
    var ids: Set<Int32> = []
    for start in 0...tokens.count - length
    where tokens[start..<start + length - 1].elementsEqual(tail) {
      ids.insert(tokens[start + length - 1])
    }
    return ids
  }

  /// For each token that followed an earlier occurrence of the text's end: the longest such end, in tokens.
  func repetitions(_ options: DryOptions) -> [Int32: Int] {
    let recent = options.range > 0 ? tokens.suffix(options.range) : tokens[...]
    guard let last = recent.last, !options.breakers.contains(last) else { return [:] }
    var lengths: [Int32: Int] = [:]
    for place in recent.startIndex..<recent.endIndex - 1 where recent[place] == last {
      let next = recent[place + 1]
      if options.breakers.contains(next) { continue }
      var length = 1
      while length < TokenHistory.longestMatch, place - length >= recent.startIndex {
        let token = recent[recent.endIndex - 1 - length]
        if recent[place - length] != token || options.breakers.contains(token) { break }
        length += 1
      }
      lengths[next] = max(lengths[next] ?? 0, length)
    }
    return lengths
  }
}
