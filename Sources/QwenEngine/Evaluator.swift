internal import QwenModel
internal import QwenTensor

/// Memory and threads of steps: one forward pass at a time, over any conversations with the same settings.
///
/// One thread uses it at a time.
final class Evaluator: @unchecked Sendable {
  let control: RunControl
  /// Tokens that one step takes.
  let maximumTokens: Int
  private let network: LanguageModel
  private let workspace: Workspace
  private let settings: ConversationSettings
  private let columns: Int
  /// Rows of logits of the last step.
  private var logits: FloatBuffer
  private var rows: Int
  /// Steps so far: hidden states are valid as long as it does not change.
  private(set) var stepCount = 0
  /// Empty between steps; keeps its memory.
  private var slices: [Slice] = []

  /// Makes the buffers of steps of up to `maximumTokens` tokens that want up to `rows` rows of logits.
  init(
    _ model: Model, _ settings: ConversationSettings, maximumTokens: Int, rows: Int,
    control: RunControl
  ) throws(EngineError) {
    guard let network = model.network else {
      throw EngineError(
        .unsupported, "the model was opened for its vocabulary only",
        hint: "open it without \"load\": \"vocabulary\"")
    }
    self.network = network
    self.settings = settings
    self.control = control
    self.maximumTokens = maximumTokens
    self.rows = rows
    columns = settings.configuration.vocabularyRows
    do {
      workspace = try Workspace(
        settings.configuration, maximumTokens: maximumTokens, threads: model.settings.threads,
        isExact: model.settings.isExact, control: control,
        sharesOutliers: model.settings.sharesOutliers,
        roundsToBFloat: model.settings.roundsToBFloat,
        blas: model.settings.usesOpenBLAS ? OpenBLAS.shared : nil)
      logits = try FloatBuffer(count: rows * columns)
    } catch { throw EngineError(error) }
    slices.reserveCapacity(rows)
    WorkerPool.shared.retain()
  }

  deinit { WorkerPool.shared.release() }

  /// Bytes of buffers.
  func byteCount(threads: Int) -> Int {
    Workspace.byteCount(
      settings.configuration, maximumTokens: maximumTokens, threads: threads,
      roundsToBFloat: workspace.compute.roundsToBFloat) + logits.count * 4
  }

  /// Row `row` of the logits of the last step; it may be changed.
  func row(_ row: Int) -> UnsafeMutableBufferPointer<Float> {
    let index = max(0, min(row, rows - 1))
    return unsafe UnsafeMutableBufferPointer(
      start: logits.pointer + index * columns, count: columns)
  }

  /// Evaluates `ids` behind a conversation. Returns their hidden states, valid until the next step. On an
  /// error nothing was added.
  func evaluate(_ conversation: Conversation, _ ids: ArraySlice<Int32>) throws(EngineError) -> Rows
  {
    stepCount += 1
    slices.append(Slice(conversation.sequence, ids))
    defer { slices.removeAll(keepingCapacity: true) }
    do {
      let hidden = try WorkerPool.shared.exclusive { () throws(TensorError) in
        try network.forward(slices, workspace, as: settings.configuration)
      }
      conversation.append(ids)
      return hidden
    } catch { throw EngineError(error) }
  }

  /// The logits of `count` hidden states from `first` on, as rows from 0 on.
  func computeLogits(_ hidden: Rows, first: Int, count: Int) throws(EngineError) {
    do {
      if count > rows {
        logits = try FloatBuffer(count: count * columns)
        rows = count
      }
      let target = try Rows(logits, tokens: count, columns: columns)
      try WorkerPool.shared.exclusive { () throws(TensorError) in
        try network.logits(try hidden.slice(first, count: count), into: target, workspace)
      }
    } catch { throw EngineError(error) }
  }

  /// Throws if a row of logits has a number that is not finite.
  func check(row: Int) throws(EngineError) {
    guard unsafe LogitRow.isFinite(UnsafeBufferPointer(self.row(row))) else {
      throw EngineError(
        .numeric, "the model produced numbers that are not finite",
        hint: "the weights may be damaged; compare the file with its source")
    }
  }
}

/// What a conversation adds to a step of several.
struct StepPart {
  let conversation: Conversation
  let tokens: ArraySlice<Int32>
  /// Whether the logits behind the last token are wanted.
  let wantsLogits: Bool
}

extension Evaluator {
  /// One pass over the weights for all parts. The rows of logits are those of the parts that want them, in
  /// their order. On an error nothing was added.
  func evaluate(_ parts: [StepPart]) throws(EngineError) {
    stepCount += 1
    for part in parts { slices.append(Slice(part.conversation.sequence, part.tokens)) }
    defer { slices.removeAll(keepingCapacity: true) }
    let hidden: Rows
    do {
      hidden = try WorkerPool.shared.exclusive { () throws(TensorError) in
        try network.forward(slices, workspace, as: settings.configuration)
      }
    } catch { throw EngineError(error) }
    var (end, wanted) = (0, 0)
    for part in parts {
      part.conversation.append(part.tokens)
      end += part.tokens.count
      guard part.wantsLogits else { continue }
      // Moves down or stays: what it covers is not wanted any more.
      if wanted != end - 1 { hidden.copy(hidden, end - 1, to: wanted) }
      wanted += 1
    }
    if wanted > 0 { try computeLogits(hidden, first: 0, count: wanted) }
  }
}
