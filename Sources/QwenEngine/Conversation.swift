internal import QwenFormats
package import QwenModel
internal import QwenTensor

/// The evaluated tokens of one text, their keys and values, and what its positions mean.
///
/// One thread changes it at a time.
package final class Conversation: @unchecked Sendable {
  package let settings: ConversationSettings
  let sequence: Sequence
  /// The evaluated tokens; as many as `sequence.length`.
  package private(set) var tokens: [Int32] = []

  /// An empty conversation; only the table of pages is allocated.
  init(_ settings: ConversationSettings) throws(EngineError) {
    self.settings = settings
    do {
      sequence = Sequence(
        cache: try KVCache(
          shape: settings.configuration.kvShape(settings.element), capacity: settings.context))
    } catch { throw EngineError(error) }
  }

  /// A conversation that goes on from what `other` holds now, sharing its pages.
  convenience init(continuing other: Conversation) throws(EngineError) {
    try self.init(other.settings)
    try restore(other.snapshot)
  }

  /// Forgets the tokens from `position` on.
  func truncate(_ position: Int) {
    sequence.truncate(position)
    tokens.removeLast(tokens.count - min(tokens.count, max(0, position)))
  }

  /// The tokens that the cache holds, after its pages were replaced.
  func replaceTokens(_ ids: ArraySlice<Int32>) { tokens = Array(ids) }

  /// Counts tokens that a step has evaluated.
  func append(_ ids: ArraySlice<Int32>) { tokens += ids }

  /// What it holds at one moment.
  package struct Snapshot: Sendable {
    let sequence: Sequence.Snapshot
    let tokens: [Int32]
  }

  /// What it holds now; nothing is copied until one of both changes.
  package var snapshot: Snapshot { Snapshot(sequence: sequence.snapshot, tokens: tokens) }

  /// Goes back, or over, to a snapshot of a conversation with the same settings.
  package func restore(_ snapshot: Snapshot) throws(EngineError) {
    do { try sequence.restore(snapshot.sequence) } catch { throw EngineError(error) }
    tokens = snapshot.tokens
  }

  /// Fixes the angles, if they are not, for a text of `length` tokens.
  func begin(length: Int) { sequence.begin(settings.configuration, promptLength: length) }

  /// How many tokens of `prompt` are evaluated already and may stay: the common beginning, less one token
  /// if that were all. Nothing if the prompt's length asks for other angles (dynamic NTK).
  func reusable(_ prompt: [Int32], length: Int) -> Int {
    guard let plan = sequence.plan, plan == settings.configuration.rotaryPlan(length: length)
    else { return 0 }
    var common = 0
    while common < min(tokens.count, prompt.count), tokens[common] == prompt[common] {
      common += 1
    }
    return min(common, max(0, prompt.count - 1))
  }

  /// Drops what `prompt` does not share and fixes the angles for its length, or for what an answer of
  /// `answer` tokens makes of it where that is planned. Returns the reused tokens.
  func align(to prompt: [Int32], answer: Int = 0) throws(EngineError) -> Int {
    let context = settings.context
    guard prompt.count <= context else {
      throw EngineError(
        .context, "the prompt has \(prompt.count) tokens, the context \(context)",
        hint: "shorten it, or open the session with a larger \"context\"")
    }
    let whole = min(context, prompt.count + min(answer, context))
    let length = settings.isPlanned ? whole : prompt.count
    let kept = reusable(prompt, length: length)
    truncate(kept)
    tokens.reserveCapacity(whole)
    sequence.begin(settings.configuration, promptLength: length)
    return kept
  }
}

/// What conversations of one session, or one batch, have in common.
package struct ConversationSettings: Sendable {
  /// The model's configuration, with the session's wishes for long contexts.
  package let configuration: ModelConfiguration
  /// What one conversation takes in memory.
  let plan: SessionPlan
  /// Tokens that a conversation may have.
  package var context: Int { plan.context }
  /// Tokens of a prompt evaluated in one step.
  package var chunk: Int { plan.chunk }
  /// How keys and values are stored.
  var element: KVShape.Element { plan.element }
  /// The options as they were given.
  let options: JSONObject
  /// Whether dynamic NTK looks at the whole answer too, not at the prompt alone.
  let isPlanned: Bool
}
