/// How a model was trained to be spoken to: roles between `<|im_start|>` and `<|im_end|>`, in the dialects of
/// the families.
package struct ChatFormat: Sendable, Equatable {
  /// The dialects.
  package enum Dialect: String, Sendable, CaseIterable {
    /// Qwen of 2023: role, line feed and content are encoded one by one.
    case qwen
    /// Qwen1.5, Qwen2 and SmolLM2: what stands between control tokens is encoded as one text.
    case chatml
    /// Qwen2.5: as chatml with its own system prompt.
    case qwen25 = "qwen2.5"
    /// Qwen3: no system prompt of its own; reasoning may be switched off and is dropped from history.
    case qwen3
    /// Qwen3 of July 2025 that always reasons: its answer begins inside the reasoning.
    case qwen3Thinking = "qwen3-thinking"
    /// Qwen3 of July 2025 that never reasons.
    case qwen3Instruct = "qwen3-instruct"
    /// QwQ: its answer begins inside the reasoning, and history never keeps any.
    case qwq
  }

  package let dialect: Dialect
  /// What a conversation without system message begins with; nil for nothing.
  package let defaultSystem: String?
  /// Ids of `<|im_start|>` and `<|im_end|>`.
  let start: Int32
  let end: Int32
  /// Tokens that end an answer.
  package let stopIDs: [Int32]
  /// Markers that are tokens of this vocabulary.
  package let markers: [Marker: Int32]
  /// How this family was trained to call tools; nil for a way that is not known here.
  package let toolSyntax: ToolSyntax?

  /// The format of a dialect, nil if the vocabulary has no `<|im_start|>` and `<|im_end|>`.
  ///
  /// `hasOwnTools` says that its tools are called in a way that is not known here.
  package init?(
    _ dialect: Dialect, defaultSystem: String?, tokenizer: Tokenizer, hasOwnTools: Bool = false
  ) {
    guard let start = tokenizer.specialID("<|im_start|>"),
      let end = tokenizer.specialID("<|im_end|>")
    else { return nil }
    self.dialect = dialect
    self.defaultSystem = defaultSystem
    toolSyntax = hasOwnTools ? nil : dialect == .qwen ? .react : .hermes
    self.start = start
    self.end = end
    var stops = [end]
    if dialect == .qwen { stops.append(start) }
    if let text = tokenizer.specialID("<|endoftext|>") { stops.append(text) }
    stopIDs = stops
    var markers: [Marker: Int32] = [:]
    for marker in Marker.allCases { markers[marker] = tokenizer.specialID(marker.rawValue) }
    self.markers = markers
  }

  /// The format of Qwen of 2023.
  package static func firstGeneration(_ tokenizer: Tokenizer) -> ChatFormat? {
    ChatFormat(.qwen, defaultSystem: helpful, tokenizer: tokenizer)
  }

  /// Whether answers may begin with reasoning that is told apart.
  package var reasons: Bool {
    switch dialect {
    case .qwen3, .qwen3Thinking, .qwen3Instruct, .qwq: true
    case .qwen, .chatml, .qwen25: false
    }
  }

  /// Whether the prompt opens the reasoning.
  var opensReasoning: Bool { dialect == .qwen3Thinking || dialect == .qwq }

  static let helpful = "You are a helpful assistant."
}

extension Tokenizer {
  /// The id of a special text; nil if the vocabulary has it not, or as ordinary text only.
  func specialID(_ text: String) -> Int32? {
    let bytes = Array(text.utf8)
    guard let id = specialTokens.entry(bytes.span)?.id, isSpecial(id) else { return nil }
    return id
  }
}
