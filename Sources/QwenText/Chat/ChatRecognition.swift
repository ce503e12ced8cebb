/// Templates in model files are recognised by the texts they contain, never executed.
extension ChatFormat {
  /// The format that a published template describes; nil if it is none of those known.
  package static func recognize(template: String, tokenizer: Tokenizer) -> ChatFormat? {
    guard template.holds("<|im_start|>"), template.holds("<|im_end|>"),
      !foreign.contains(where: template.holds)
    else { return nil }
    let dialect: Dialect =
      if template.holds("enable_thinking") {
        .qwen3
      } else if opensReasoning(template) {
        template.holds("reasoning_content") ? .qwen3Thinking : .qwq
      } else if template.holds("</think>") {
        .qwen3Instruct
      } else if template.holds("<tool_call>") {
        .qwen25
      } else {
        .chatml
      }
    return ChatFormat(
      dialect, defaultSystem: literalSystem(template), tokenizer: tokenizer,
      hasOwnTools: template.holds("<function="))
  }

  /// What shows that a template says something else with the same control tokens: pictures, other families.
  private static let foreign = ["<|vision_start|>", "<|im_sep|>", "<|im_middle|>"]

  /// How a line feed is spelled in a template: escaped in a string, or as it is.
  private static let lineFeeds = ["\\n", "\n"]

  /// The system text that stands in a template as it is, for conversations that bring none.
  private static func literalSystem(_ template: String) -> String? {
    for feed in lineFeeds {
      for rest in template.parts(between: "<|im_start|>system" + feed).dropFirst() {
        guard let text = rest.parts(between: "<|im_end|>").first, isLiteral(text) else { continue }
        return unescaped(text)
      }
    }
    return nil
  }

  /// Whether a part of a template is text rather than the end of a string and an expression.
  private static func isLiteral(_ text: String) -> Bool {
    if text.holds("{{") || text.holds("{%") || text.holds("}}") { return false }
    return !["'", "\""].contains { quote in
      [" +", "+", " ~", " }", "}", " |", " -"].contains { text.holds(quote + $0) }
    }
  }

  /// A part of a quoted string of a template as the text it stands for.
  private static func unescaped(_ text: String) -> String {
    var bytes: [UInt8] = []
    var isEscaped = false
    for byte in text.utf8 {
      if isEscaped {
        bytes.append(byte == UInt8(ascii: "n") ? 0x0A : byte)
        isEscaped = false
      } else if byte == UInt8(ascii: "\\") {
        isEscaped = true
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Whether the answer is opened inside the reasoning: `<think>` directly behind the opening of the
  /// assistant's block, not closed at once.
  private static func opensReasoning(_ template: String) -> Bool {
    lineFeeds.contains { feed in
      template.parts(between: "<|im_start|>assistant\(feed)<think>\(feed)").dropFirst().contains {
        !$0.beginsWith(feed + "</think>") && !$0.beginsWith("</think>")
      }
    }
  }

  /// Formats that can be chosen by name where a template is not recognised.
  package static let names = [
    "chatml", "qwen", "qwen1.5", "qwen2", "qwen2.5", "qwen3", "qwen3-thinking", "qwen3-instruct",
    "qwq",
  ]

  /// The format of one of `names`; nil if the vocabulary lacks the control tokens, or for another name.
  ///
  /// "chatml" has no default system text; "qwen1.5" has the early one without full stop.
  package static func named(_ name: String, tokenizer: Tokenizer) -> ChatFormat? {
    switch name {
    case "qwen1.5":
      ChatFormat(.chatml, defaultSystem: "You are a helpful assistant", tokenizer: tokenizer)
    case "qwen2": ChatFormat(.chatml, defaultSystem: helpful, tokenizer: tokenizer)
    case "qwen2.5":
      ChatFormat(
        .qwen25,
        defaultSystem: "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
        tokenizer: tokenizer)
    case "qwen": firstGeneration(tokenizer)
    default:
      Dialect(rawValue: name).flatMap {
        ChatFormat($0, defaultSystem: nil, tokenizer: tokenizer)
      }
    }
  }
}
