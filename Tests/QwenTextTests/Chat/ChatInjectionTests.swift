import QwenFormats
import QwenText
import Testing

/// Whatever a request says, the special tokens of its prompt are those of its structure.
@Suite struct ChatInjectionTests {
  struct Setting: Sendable {
    let name: String
    let vocabulary: @Sendable () throws -> Tokenizer
  }

  static let settings = [
    Setting(name: "qwen") { try ChatVocabulary.qwen.get() },
    Setting(name: "qwen2") { try ChatVocabulary.qwen2.get() },
    Setting(name: "qwen2.5") { try ChatVocabulary.qwen3.get() },
    Setting(name: "qwen3") { try ChatVocabulary.qwen3.get() },
    Setting(name: "qwen3-thinking") { try ChatVocabulary.qwen3.get() },
  ]

  /// Text made of special texts, whole, halved, nested in one another, and of the words of the formats.
  private func forged(_ specials: [String], _ random: inout TestRandom) -> String {
    let words = [
      "\n", " ", "x", "é", "user\n", "assistant\n", "system", "\nAction: a", "\nObservation: b",
      "<tools>",
      "{\"name\": \"a\", \"arguments\": {}}", "\u{301}", "<|", "|>", "<", ">",
    ]
    var text = ""
    for _ in 0..<1 + random.below(5) {
      let special = random.one(of: specials)
      switch random.below(4) {
      case 0: text += special
      case 1: text += String(special.prefix(random.below(special.count + 1)))
      case 2:
        // One inside of another: taking the inner one out would leave the outer.
        let half = random.below(special.count)
        text += special.prefix(half) + random.one(of: specials) + special.dropFirst(half)
      default: text += random.one(of: words)
      }
    }
    return text
  }

  /// A conversation whose texts come from `text`; its shape from `random` alone.
  private func conversation(
    _ random: inout TestRandom, _ text: (inout TestRandom) -> String
  ) -> ([ChatMessage], ChatOptions) {
    var content = TestRandom(UInt64(random.below(1 << 30)))
    var messages: [ChatMessage] = []
    if random.below(2) == 0 { messages.append(ChatMessage(.system, text(&content))) }
    for _ in 0..<random.below(3) {
      messages.append(ChatMessage(.user, text(&content)))
      if random.below(2) == 0 {
        let calls = (0..<1 + random.below(2)).map { index in
          ToolCall(id: "call_\(index)", name: text(&content), argumentsText: text(&content))
        }
        messages.append(ChatMessage(.assistant, text(&content), calls: calls))
        for call in calls { messages.append(ChatMessage(.tool, text(&content), callID: call.id)) }
      }
      messages.append(ChatMessage(.assistant, text(&content)))
    }
    messages.append(ChatMessage(.user, text(&content)))
    var options = ChatOptions()
    options.thinking = random.one(of: [nil, false, true])
    options.tools = (0..<random.below(3)).map { _ in
      ChatVocabulary.tool(
        text(&content), human: text(&content), text(&content),
        parameters: ["type": .string(text(&content)), "properties": ["k": .string(text(&content))]])
    }
    options.syntax = random.one(of: [nil, .react, .hermes])
    if let tool = options.tools.first {
      options.choice = random.one(of: [.auto, .none, .required, .function(tool.name)])
    }
    return (messages, options)
  }

  @Test(arguments: settings.indices) func `no text makes a special token`(_ index: Int) throws {
    let setting = Self.settings[index]
    let tokenizer = try setting.vocabulary()
    let format = try #require(ChatFormat.named(setting.name, tokenizer: tokenizer))
    var specials = tokenizer.specials.map(\.text)
    if specials.count > 40 { specials = Array(specials.prefix(12) + specials.suffix(4)) }
    specials += ["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]
    // Reasoning in an assistant's own text has a meaning in these templates, everywhere else it has none.
    let think = Set(["<think>", "</think>"].compactMap { tokenizer.id(of: $0) })
    func structure(_ shape: UInt64, _ text: (inout TestRandom) -> String) throws -> [Int32] {
      var random = TestRandom(shape)
      let (messages, options) = conversation(&random, text)
      return try format.render(messages, tokenizer, options: options).ids
        .filter { tokenizer.isSpecial($0) }
    }
    let plain = specials.filter { !$0.contains("think") }
    let thinking = plain + ["<think>", "</think>"]
    for round in 0..<4_000 {
      let shape = UInt64(index * 100_000 + round)
      let wanted = try structure(shape) { _ in "x" }
      let found = try structure(shape) { forged(plain, &$0) }
      try #require(found == wanted, "case \(shape)")
      if round % 4 == 0 {
        let found = try structure(shape) { forged(thinking, &$0) }
        try #require(
          found.filter { !think.contains($0) } == wanted.filter { !think.contains($0) },
          "case \(shape)")
      }
    }
  }
}
