/// How a model was trained to be spoken to: roles between `<|im_start|>` and `<|im_end|>`, in the dialects of
/// the families.
///
/// Templates in model files are recognised, never executed.
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
  }

  package let dialect: Dialect
  /// What a conversation without system message begins with; nil for nothing.
  package let defaultSystem: String?
  /// Ids of `<|im_start|>` and `<|im_end|>`.
  let start: Int32
  let end: Int32
  /// Tokens that end an answer.
  package let stopIDs: [Int32]

  /// The format of a dialect, nil if the vocabulary has no `<|im_start|>` and `<|im_end|>`.
  package init?(_ dialect: Dialect, defaultSystem: String?, tokenizer: Tokenizer) {
    guard let start = tokenizer.id(of: "<|im_start|>"), tokenizer.isSpecial(start),
      let end = tokenizer.id(of: "<|im_end|>"), tokenizer.isSpecial(end)
    else { return nil }
    self.dialect = dialect
    self.defaultSystem = defaultSystem
    self.start = start
    self.end = end
    var stops = [end]
    if dialect == .qwen { stops.append(start) }
    if let text = tokenizer.id(of: "<|endoftext|>"), tokenizer.isSpecial(text) {
      stops.append(text)
    }
    stopIDs = stops
  }

  /// The format of Qwen of 2023.
  package static func firstGeneration(_ tokenizer: Tokenizer) -> ChatFormat? {
    ChatFormat(.qwen, defaultSystem: "You are a helpful assistant.", tokenizer: tokenizer)
  }

  /// The format that a published template describes, told by the texts it contains; nil if it is another.
  package static func recognize(template: String, tokenizer: Tokenizer) -> ChatFormat? {
    guard template.contains("<|im_start|>"), template.contains("<|im_end|>") else { return nil }
    if template.contains("<think>") || template.contains("enable_thinking") {
      return ChatFormat(.qwen3, defaultSystem: nil, tokenizer: tokenizer)
    }
    let known = [
      "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
      "You are a helpful AI assistant named SmolLM, trained by Hugging Face",
      "You are a helpful assistant.", "You are a helpful assistant",
    ]
    let system = known.first { template.contains($0) }
    return ChatFormat(
      system == known[0] ? .qwen25 : .chatml, defaultSystem: system, tokenizer: tokenizer)
  }
}
