/// Templates in model files are recognised by the texts they contain, never executed.
extension ChatFormat {
  /// The format that a published template describes; nil if it is none of those known.
  package static func recognize(template: String, tokenizer: Tokenizer) -> ChatFormat? {
    guard template.holds("<|im_start|>"), template.holds("<|im_end|>"),
      !foreign.contains(where: template.holds)
    else { return nil }
    if template.holds("enable_thinking") {
      return ChatFormat(.qwen3, defaultSystem: nil, tokenizer: tokenizer)
    }
    if opensReasoning(template) {
      return ChatFormat(.qwen3Thinking, defaultSystem: nil, tokenizer: tokenizer)
    }
    if template.holds("</think>") {
      return ChatFormat(.qwen3, defaultSystem: nil, tokenizer: tokenizer)
    }
    let system = systems.first(where: template.holds)
    if system == systems[0] {
      return ChatFormat(.qwen25, defaultSystem: system, tokenizer: tokenizer)
    }
    if system == nil, template.holds("<tool_call>") {
      return ChatFormat(.qwen3Instruct, defaultSystem: nil, tokenizer: tokenizer)
    }
    return ChatFormat(.chatml, defaultSystem: system, tokenizer: tokenizer)
  }

  /// Default system texts of known templates, the more special ones first.
  private static let systems = [
    "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face",
    helpful, "You are a helpful assistant",
  ]

  /// What shows that a template which uses the same control tokens says something else with them: pictures,
  /// other syntaxes of tools, other families.
  private static let foreign = ["<|vision_start|>", "<function=", "<|im_sep|>", "<|im_middle|>"]

  /// Whether the answer is opened inside the reasoning: `<think>` and a line feed directly behind the opening
  /// of the assistant's block, in either spelling of the line feed.
  private static func opensReasoning(_ template: String) -> Bool {
    ["<|im_start|>assistant\n<think>\n", "<|im_start|>assistant\\n<think>\\n"].contains {
      opening in
      template.parts(between: opening).dropFirst().contains { rest in
        // An opening that also closes switches reasoning off.
        !rest.beginsWith("\n</think>") && !rest.beginsWith("\\n</think>")
      }
    }
  }

  /// Formats that can be chosen by name where a template is not recognised.
  package static let names = [
    "chatml", "qwen", "qwen1.5", "qwen2", "qwen2.5", "qwen3", "qwen3-thinking", "qwen3-instruct",
  ]

  /// The format of one of `names`; nil if the vocabulary lacks the control tokens, or for another name.
  ///
  /// "chatml" has no default system text; "qwen1.5" has the early one without full stop.
  package static func named(_ name: String, tokenizer: Tokenizer) -> ChatFormat? {
    switch name {
    case "qwen1.5":
      ChatFormat(.chatml, defaultSystem: systems[3], tokenizer: tokenizer)
    case "qwen2": ChatFormat(.chatml, defaultSystem: helpful, tokenizer: tokenizer)
    case "qwen2.5": ChatFormat(.qwen25, defaultSystem: systems[0], tokenizer: tokenizer)
    case "qwen": firstGeneration(tokenizer)
    default:
      Dialect(rawValue: name).flatMap {
        ChatFormat($0, defaultSystem: nil, tokenizer: tokenizer)
      }
    }
  }
}
