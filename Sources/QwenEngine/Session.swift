package import QwenFormats
internal import QwenModel
package import QwenTensor

/// One conversation and the memory that its steps need.
///
/// Serves one run at a time.
package final class Session: @unchecked Sendable {
  package let model: Model
  package let control: RunControl
  let settings: ConversationSettings
  let conversation: Conversation
  let evaluator: Evaluator
  private let promise: MemoryPromise
  /// Guesses for runs that ask for it.
  private(set) var draft: DraftModel?
  /// What `feed` left behind, for `fedLogits`.
  var fed: Fed?

  /// `options` is checked. Throws `.memory` if the buffers of a step can't be had.
  package convenience init(_ model: Model, options: JSONObject) throws(EngineError) {
    let settings = ConversationSettings(model, options: options)
    // Looked at before anything is allocated.
    let promise = try MemoryPromise(model, settings)
    try self.init(model, settings, try Conversation(settings), RunControl(), promise)
  }

  /// A session of `model` around a conversation; `control` may be that of another session.
  init(
    _ model: Model, _ settings: ConversationSettings, _ conversation: Conversation,
    _ control: RunControl, _ promise: MemoryPromise
  ) throws(EngineError) {
    self.model = model
    self.promise = promise
    self.settings = settings
    self.control = control
    self.conversation = conversation
    evaluator = try Evaluator(
      model, settings, maximumTokens: min(settings.chunk, settings.context), rows: 1,
      control: control)
  }

  /// Another session that goes on from where this one is; both share what is evaluated.
  package func fork() throws(EngineError) -> Session {
    let promise = try MemoryPromise(model, settings)
    return try Session(
      model, settings, try Conversation(continuing: conversation), RunControl(), promise)
  }

  /// Has a model guess for runs with `"speculative": "draft"`; nil for none. Throws `.unsupported` if its
  /// vocabulary is another.
  package func setDraft(_ model: Model?) throws(EngineError) {
    draft = nil
    if let model { draft = try DraftModel(model, for: self) }
  }

  /// The evaluated tokens.
  package var tokens: [Int32] { conversation.tokens }

  /// Forgets every token.
  package func reset() { conversation.truncate(0) }

  /// Forgets the tokens from `position` on. Throws if there are fewer.
  package func rewind(to position: Int) throws(EngineError) {
    guard (0...tokens.count).contains(position) else {
      throw EngineError(
        .argument, "position \(position) is outside the \(tokens.count) tokens of the session",
        hint: "qwen_session_tokens tells how many there are")
    }
    conversation.truncate(position)
  }

  /// Facts for `qwen_session_info`.
  package var info: JSONObject {
    let shape = conversation.sequence.cache.shape
    let context = settings.context
    var info: JSONObject = [
      "position": .integer(tokens.count), "cached_tokens": .integer(tokens.count),
      "context": .integer(context), "kv_cache": .string(settings.element.rawValue),
      "prefill_chunk": .integer(settings.chunk), "threads": .integer(model.settings.threads),
      "memory": [
        "kv_bytes": .integer(conversation.sequence.cache.byteCount),
        "kv_bytes_per_token": .integer(shape.pageBytes / KVShape.pagePositions),
        "kv_bytes_at_context": .integer(settings.plan.cacheBytes(context)),
        "workspace_bytes": .integer(evaluator.byteCount(threads: model.settings.threads)),
      ],
    ]
    if let alpha = conversation.sequence.plan?.alpha, alpha != 1 {
      info["ntk_alpha"] = .number(alpha)
    }
    return info
  }
}

extension ConversationSettings {
  /// Those of a session's checked options.
  init(_ model: Model, options: JSONObject) {
    let (wishes, isPlanned) = LongContext.asked(options)
    self.options = options
    configuration = model.configuration.with(wishes)
    self.isPlanned = isPlanned
    plan = SessionPlan(configuration, options: options, settings: model.settings)
  }
}

extension LongContext {
  /// The wishes in a session's checked options, and whether NTK plans for the answer.
  static func asked(_ options: JSONObject) -> (LongContext, isPlanned: Bool) {
    var wishes = LongContext()
    if let alpha = options["ntk"]?.double {
      wishes.ntk = .fixed(alpha)
    } else {
      switch options["ntk"]?.string {
      case "off": wishes.ntk = .off
      case "reference", "planned": wishes.ntk = .dynamic
      default: break
      }
    }
    wishes.usesLogN = options["logn"]?.bool
    if let positions = options["window"]?.int {
      wishes.window = .every(positions)
    } else {
      switch options["window"]?.string {
      case "off": wishes.window = .off
      case "graded": wishes.window = .graded
      default: break
      }
    }
    wishes.yarnFactor = options["yarn"]?.double
    return (wishes, options["ntk"]?.string == "planned")
  }
}
