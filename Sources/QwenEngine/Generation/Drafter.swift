internal import QwenFormats

/// Guesses the tokens that come next, so that one pass over the weights can check several.
///
/// A guess never changes what is said: the run chooses every token from the model's own logits, by its own random
/// numbers, and only skips evaluating what was guessed right. So the answer is the same to the bit, and sampled
/// answers have the model's distribution.
struct Drafter {
  private let options: SpeculationOptions
  private let draft: DraftModel?
  /// Guesses a step; grows while guesses are right, shrinks when they are not.
  private var length: Int
  private var acceptedBefore = 0
  private var lastCount = 0

  /// Steps in which something was guessed.
  private(set) var steps = 0
  /// Tokens guessed.
  private(set) var drafted = 0
  /// Guesses that were right.
  var accepted = 0

  /// Nil if nothing is to be guessed. Throws `.option` if a draft model is asked for and there is none.
  init?(_ options: SpeculationOptions?, _ draft: DraftModel?) throws(EngineError) {
    guard let options else { return nil }
    if options.kind == .draft, draft == nil {
      throw EngineError(
        .option, "\"speculative\" asks for a draft model, the session has none",
        key: "speculative", hint: "give it one with qwen_session_set_draft, or use \"lookup\"")
    }
    self.options = options
    self.draft = options.kind == .draft ? draft : nil
    length = options.maximum
  }

  /// Appends up to `most` guesses to `step`, which holds the token that `sampler` chose last.
  mutating func propose(_ sampler: Sampler, most: Int, behind step: inout [Int32]) {
    adapt()
    let count = min(length, most)
    let before = step.count
    if let draft {
      draft.propose(sampler, count: count, into: &step)
    } else {
      Drafter.look(for: options.match, in: sampler.tokens, count: count, into: &step)
    }
    lastCount = step.count - before
    guard lastCount > 0 else { return }
    steps += 1
    drafted += lastCount
  }

  private mutating func adapt() {
    guard lastCount > 0 else { return }
    let right = accepted - acceptedBefore
    length = right == lastCount ? min(options.maximum, 2 * length) : max(1, right + 1)
    acceptedBefore = accepted
  }

  /// Longest repetition that is measured.
  private static let longestMatch = 32

  /// Appends the tokens that followed the longest earlier occurrence of the text's end, of several the latest, if
  /// it has at least `match` tokens.
  static func look(
    for match: Int, in text: borrowing [Int32], count: Int, into step: inout [Int32]
  ) {
    guard match > 0, text.count > match, count > 0 else { return }
    let end = text.count
    let last = text[end - 1]
    var (best, place) = (match - 1, -1)
    var candidate = end - 2
    while candidate >= 0, best < longestMatch {
      if text[candidate] == last {
        var length = 1
        while length < longestMatch, candidate - length >= 0,
          text[candidate - length] == text[end - 1 - length]
        { length += 1 }
        if length > best { (best, place) = (length, candidate) }
      }
      candidate -= 1
    }
    guard place >= 0 else { return }
    for index in place + 1..<min(end, place + 1 + count) { step.append(text[index]) }
  }
}

/// How to guess.
package struct SpeculationOptions: Sendable, Equatable {
  enum Kind: Sendable {
    /// What followed an earlier occurrence of the text's end.
    case lookup
    /// What a smaller model says.
    case draft
  }

  var kind: Kind
  /// Tokens that must recur before a lookup guesses.
  var match = 2
  /// Most guesses a step.
  var maximum = 8

  /// Most guesses anyone may ask for.
  static let limit = 64
}

extension SpeculationOptions {
  /// What is allowed, for messages.
  static let allowed =
    "\"off\", \"lookup\", \"draft\", {\"lookup\": {\"n\": 1...\(longestMatch), \"max\": 1...\(limit)}} or "
    + "{\"draft\": {\"max\": 1...\(limit)}}"
  private static let longestMatch = 32

  /// Reads a checked value; nil for "off".
  init?(_ value: JSONValue) {
    switch value {
    case .string("lookup"): self.init(kind: .lookup)
    case .string("draft"): self.init(kind: .draft, maximum: 4)
    case .object(let object):
      guard let (name, inner) = object.entries.first else { return nil }
      self.init(kind: name == "draft" ? .draft : .lookup)
      match = inner.object?["n"]?.int ?? match
      maximum = inner.object?["max"]?.int ?? (kind == .draft ? 4 : maximum)
    default: return nil
    }
  }

  /// Whether the option takes this value.
  static func isValid(_ value: JSONValue) -> Bool {
    if let word = value.string { return ["off", "lookup", "draft"].contains(word) }
    guard let entries = value.object?.entries, entries.count == 1,
      let (name, inner) = entries.first, let numbers = inner.object?.entries
    else { return false }
    return numbers.allSatisfy { key, number in
      switch (name, key) {
      case ("lookup", "n"): number.int.map((1...longestMatch).contains) ?? false
      case ("lookup", "max"), ("draft", "max"): number.int.map((1...limit).contains) ?? false
      default: false
      }
    } && ["lookup", "draft"].contains(name)
  }
}
