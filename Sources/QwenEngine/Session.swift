package import QwenFormats
internal import QwenModel
package import QwenTensor
internal import QwenText

/// One conversation: evaluated tokens, their keys and values, and the memory of a step.
///
/// Serves one run at a time; whoever uses it holds `enter` until `leave`.
package final class Session: @unchecked Sendable {
  package let model: Model
  /// Tokens that a conversation may have.
  package let context: Int
  package let control = RunControl()
  let network: LanguageModel
  let sequence: Sequence
  let workspace: Workspace
  let logits: FloatBuffer
  let chunk: Int
  /// What the session was promised.
  private let plan: SessionPlan
  private let cacheElement: KVShape.Element
  /// The model's, with this session's wishes for long contexts.
  let configuration: ModelConfiguration
  /// Whether dynamic NTK looks at the whole answer too, not at the prompt alone.
  private let isPlanned: Bool
  /// The evaluated tokens; as many as `sequence.length`.
  package private(set) var tokens: [Int32] = []

  /// `options` is checked. Throws `.memory` if the buffers of a step can't be had, `.option` for a context
  /// the model can't serve.
  package init(_ model: Model, options: JSONObject) throws(EngineError) {
    guard let network = model.network else {
      throw EngineError(
        .unsupported, "the model was opened for its vocabulary only",
        hint: "open it without \"load\": \"vocabulary\"")
    }
    let (wishes, isPlanned) = LongContext.asked(options)
    let c = model.configuration.with(wishes)
    configuration = c
    self.isPlanned = isPlanned
    plan = SessionPlan(c, options: options, threads: model.settings.threads)
    try model.promise(plan, sessionLimit: options["max_memory"].flatMap(ByteSize.init)?.bytes)
    (context, chunk, cacheElement) = (plan.context, plan.chunk, plan.element)
    self.model = model
    self.network = network
    do {
      sequence = Sequence(
        cache: try KVCache(shape: c.kvShape(cacheElement), capacity: context))
      workspace = try Workspace(
        c, maximumTokens: min(chunk, context), threads: model.settings.threads,
        isExact: model.settings.isExact, control: control,
        blas: model.settings.usesOpenBLAS ? OpenBLAS.shared : nil)
      logits = try FloatBuffer(count: c.vocabularyRows)
    } catch {
      model.memory.release(plan)
      throw EngineError(error)
    }
    WorkerPool.shared.retain()
  }

  deinit {
    WorkerPool.shared.release()
    model.memory.release(plan)
  }

  /// Forgets every token.
  package func reset() { truncate(0) }

  /// Forgets the tokens from `position` on.
  func truncate(_ position: Int) {
    sequence.truncate(position)
    tokens.removeLast(tokens.count - min(tokens.count, max(0, position)))
  }

  /// Facts for `qwen_session_info`.
  package var info: JSONObject {
    let shape = sequence.cache.shape
    var info: JSONObject = [
      "position": .integer(tokens.count), "cached_tokens": .integer(tokens.count),
      "context": .integer(context), "kv_cache": .string(cacheElement.rawValue),
      "prefill_chunk": .integer(chunk), "threads": .integer(model.settings.threads),
      "memory": [
        "kv_bytes": .integer(sequence.cache.byteCount),
        "kv_bytes_per_token": .integer(shape.pageBytes / KVShape.pagePositions),
        "kv_bytes_at_context": .integer(plan.cacheBytes(context)),
        "workspace_bytes": .integer(plan.workspaceBytes),
      ],
    ]
    if let alpha = sequence.plan?.alpha, alpha != 1 { info["ntk_alpha"] = .number(alpha) }
    return info
  }
}

extension Session {
  /// How many tokens of `prompt` are evaluated already and may stay: the common beginning, less one token
  /// if that were all. Nothing if the prompt's length asks for other angles (dynamic NTK).
  func reusable(_ prompt: [Int32], length: Int) -> Int {
    guard let plan = sequence.plan, plan == configuration.rotaryPlan(length: length) else {
      return 0
    }
    var common = 0
    while common < min(tokens.count, prompt.count), tokens[common] == prompt[common] {
      common += 1
    }
    return min(common, max(0, prompt.count - 1))
  }

  /// Drops what `prompt` does not share and fixes the angles for its length, or for what an answer of
  /// `answer` tokens makes of it where that is planned. Returns the reused tokens.
  func align(to prompt: [Int32], answer: Int = 0) throws(EngineError) -> Int {
    guard prompt.count <= context else {
      throw EngineError(
        .context, "the prompt has \(prompt.count) tokens, the context \(context)",
        hint: "shorten it, or open the session with a larger \"context\"")
    }
    let length = isPlanned ? min(context, prompt.count + min(answer, context)) : prompt.count
    let kept = reusable(prompt, length: length)
    truncate(kept)
    sequence.begin(configuration, promptLength: length)
    return kept
  }

  /// Evaluates `ids` behind the cached tokens, at most `chunk` of them. Returns their hidden states, valid
  /// until the next evaluation. On an error nothing was added.
  func evaluate(_ ids: ArraySlice<Int32>) throws(EngineError) -> Rows {
    let slices = [Slice(sequence, ids)]
    do {
      let hidden = try WorkerPool.shared.exclusive { () throws(TensorError) in
        try network.forward(slices, workspace, as: configuration)
      }
      tokens += ids
      return hidden
    } catch { throw EngineError(error) }
  }

  /// The logits of one row of hidden states, in `logits`.
  func computeLogits(_ hidden: Rows, row: Int) throws(EngineError) {
    do {
      let target = try Rows(logits, tokens: 1, columns: logits.count)
      try WorkerPool.shared.exclusive { () throws(TensorError) in
        try network.logits(try hidden.slice(row, count: 1), into: target, workspace)
      }
    } catch { throw EngineError(error) }
    guard unsafe LogitRow.isFinite(UnsafeBufferPointer(start: logits.pointer, count: logits.count))
    else {
      throw EngineError(
        .numeric, "the model produced numbers that are not finite",
        hint: "the weights may be damaged; compare the file with its source")
    }
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
