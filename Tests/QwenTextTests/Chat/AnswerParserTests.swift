import QwenFormats
import QwenText
import Testing

@Suite struct AnswerParserTests {
  /// Everything a parser says of a text that comes in such pieces.
  private func parse(
    _ pieces: [String], _ opening: AnswerOpening, _ format: ChatFormat
  ) throws -> (Answer, [AnswerPiece]) {
    var parser = try #require(AnswerParser(opening, format: format))
    var said: [AnswerPiece] = parser.begin(opening)
    for piece in pieces { said += parser.push(piece) }
    said += parser.finish()
    return (parser.answer, said)
  }

  /// Pieces of a text, cut where `random` likes, between characters.
  private func cut(_ text: String, _ random: inout TestRandom) -> [String] {
    var pieces: [String] = []
    var rest = text.unicodeScalars[...]
    while !rest.isEmpty {
      let count = min(rest.count, 1 + random.below(random.below(3) == 0 ? 40 : 3))
      pieces.append(String(rest.prefix(count)))
      rest = rest.dropFirst(count)
    }
    return pieces
  }

  private func opening(_ format: ChatFormat, _ syntax: ToolSyntax, after: ChatMessage? = nil) throws
    -> AnswerOpening
  {
    let messages =
      [ChatMessage(.user, "q")] + (after.map { [ChatMessage(.assistant, "x"), $0] } ?? [])
    let options = ChatOptions(tools: [ChatVocabulary.tool("time")], syntax: syntax)
    let tokenizer = try ChatVocabulary.qwen2.get()
    return try format.render(messages, tokenizer, options: options).opening
  }

  private static let marks = [
    "<tool_call>", "</tool_call>", "\nAction:", "\nAction Input:", "\nFinal Answer:", "\nThought:",
  ]

  struct Case: Sendable {
    let text: String
    let content: String
    let reasoning: String?
    let calls: [ToolCall]
    init(
      _ text: String, _ content: String, _ reasoning: String? = nil,
      _ calls: [(String, String)] = []
    ) {
      self.text = text
      self.content = content
      self.reasoning = reasoning
      self.calls = calls.enumerated().map {
        ToolCall(id: "call_\($0)", name: $1.0, argumentsText: $1.1)
      }
    }
  }

  static let hermes: [Case] = [
    Case("Hello\n\nthere\n", "Hello\n\nthere\n"), Case("", ""),
    Case("a < b <tool> <tool_", "a < b <tool> <tool_"),
    Case(
      "<tool_call>\n{\"name\": \"time\", \"arguments\": {\"zone\": \"CET\"}}\n</tool_call>", "",
      nil,
      [("time", "{\"zone\": \"CET\"}")]),
    Case(
      "Let me see.\n<tool_call>\n{\"name\": \"a\", \"arguments\": {}}\n</tool_call>\n<tool_call>\n"
        + "{\"arguments\": {\"x\": [1, {\"y\": \"}\\\"{\"}]}, \"name\": \"b\"}\n</tool_call>\n",
      "Let me see.",
      nil, [("a", "{}"), ("b", "{\"x\": [1, {\"y\": \"}\\\"{\"}]}")]),
    Case(
      "<tool_call>{'name': 'a', 'arguments': {'x': 'it\\'s'},}</tool_call>", "", nil,
      [("a", "{'x': 'it\\'s'}")]),
    Case("<tool_call>\n{name: a, arguments: {x: 1}}</tool_call>", "", nil, [("a", "{x: 1}")]),
    Case("<tool_call>{\"name\": \"a\"}</tool_call>", "", nil, [("a", "")]),
    Case(
      "<tool_call>{\"name\": \"a\", \"arguments\": {\"x\": \"Par", "", nil, [("a", "{\"x\": \"Par")]
    ),
    Case("<tool_call>\nnothing\n</tool_call>", "<tool_call>\nnothing\n</tool_call>"),
    Case(
      "<tool_call>{\"name\": \"a\", \"arguments\": \"x\" }</tool_call>done", "done", nil,
      [("a", "\"x\"")]),
    Case(
      "<tool_call>{\"name\": \"é🤖\", \"arguments\": {\"é\": \"🤖\"}  }</tool_call>", "", nil,
      [("é🤖", "{\"é\": \"🤖\"}")]),
  ]

  static let react: [Case] = [
    Case(
      "Thought: I should look.\nAction: search\nAction Input: {\"q\": \"x\"}\n", "",
      "I should look.",
      [("search", "{\"q\": \"x\"}")]),
    Case("Thought: I know.\nFinal Answer: It is\n\n42. ", "It is\n\n42.", "I know."),
    Case("Hello there.", "Hello there."), Case("Thought: only this", "only this"),
    Case("Action: a\nAction Input: {}", "", nil, [("a", "{}")]),
    Case("Thought: t\nAction: do this\nand that", "t\nAction: do this\nand that"),
    Case(
      "x\nAction: a\nAction Input: 1\nAction: b\nAction Input: 2\nThought: 3", "x", nil,
      [("b", "2\nThought: 3")]),
    Case(
      "Thought: t\nAction: a\n\nAction Input:\n```py\nprint(1)\n```\n", "", "t",
      [("a", "```py\nprint(1)\n```")]),
    Case("Final Answer: a\nThought: b", "a\nThought: b"),
    Case("Thought: one\nThought: two\nFinal Answer: x", "x", "one\ntwo"),
    Case("Actions: are not Action: marks", "Actions: are not Action: marks"),
    Case("Final Answer: step\nAction: none", "step\nAction: none"),
  ]

  @Test func `calls between markers are found however the text is cut`() throws {
    let format = try #require(
      ChatFormat.named("qwen2.5", tokenizer: try ChatVocabulary.qwen2.get()))
    let opening = try opening(format, .hermes)
    var random = TestRandom(1)
    for sample in Self.hermes {
      for round in 0..<60 {
        let pieces = round == 0 ? [sample.text] : cut(sample.text, &random)
        let (answer, said) = try parse(pieces, opening, format)
        #expect(answer.content == sample.content, "\(sample.text)")
        #expect(answer.reasoning == nil && answer.calls == sample.calls, "\(sample.text)")
        expectWhole(said, answer)
      }
    }
  }

  @Test func `actions are found however the text is cut`() throws {
    let format = try #require(ChatFormat.firstGeneration(try ChatVocabulary.qwen.get()))
    let opening = try opening(format, .react)
    var random = TestRandom(2)
    for sample in Self.react {
      for round in 0..<60 {
        let pieces = round == 0 ? [sample.text] : cut(sample.text, &random)
        let (answer, said) = try parse(pieces, opening, format)
        #expect(answer.content == sample.content, "\(sample.text)")
        #expect(answer.reasoning == sample.reasoning, "\(sample.text)")
        #expect(answer.calls == sample.calls, "\(sample.text)")
        if sample.calls.count < 2, sample.reasoning != nil { expectWhole(said, answer) }
      }
    }
  }

  @Test func `after a result the answer goes on as a thought`() throws {
    let format = try #require(ChatFormat.firstGeneration(try ChatVocabulary.qwen.get()))
    let opening = try opening(format, .react, after: ChatMessage(.tool, "18"))
    let (answer, _) = try parse([" I now know", ".\nFinal Answer: 18"], opening, format)
    #expect(answer.reasoning == "I now know." && answer.content == "18")
  }

  /// Pieces joined by kind are the answer, and none holds a whole or half marker.
  private func expectWhole(_ said: [AnswerPiece], _ answer: Answer) {
    var joined = Answer()
    for piece in said {
      joined.append(piece)
      guard case .content(let text) = piece, !answer.content.contains("<tool") else { continue }
      for mark in Self.marks {
        for count in 2...mark.utf8.count where mark.utf8.count > 3 {
          let part = String(mark.prefix(count))
          // Half a marker may be there only if the answer holds it.
          if text.hasSuffix(part) { #expect(answer.content.contains(part), "\(text)") }
        }
      }
    }
    #expect(joined == answer)
  }

  @Test func `markers that are tokens are not made by text`() throws {
    let tokenizer = try ChatVocabulary.qwen3.get()
    let format = try #require(ChatFormat.named("qwen3", tokenizer: tokenizer))
    let opening = try opening(format, .hermes)
    let text = "<think>no</think><tool_call>{\"name\": \"a\", \"arguments\": {}}</tool_call>"
    #expect(try parse([text], opening, format).0.content == text)
    var parser = try #require(AnswerParser(opening, format: format))
    for id in try tokenizer.encode(
      "<think>\nyes\n</think>\n\nLook.\n<tool_call>\n{\"name\": \"a\", \"arguments\": {\"b\": \"</tool_call\"}}\n</tool_call>",
      special: .all)
    {
      if let marker = parser.marker(of: id) {
        _ = parser.push(marker)
      } else {
        _ = parser.push(tokenizer.text([id]))
      }
    }
    _ = parser.finish()
    #expect(parser.answer.reasoning == "yes" && parser.answer.content == "Look.")
    #expect(
      parser.answer.calls
        == [ToolCall(id: "call_0", name: "a", argumentsText: "{\"b\": \"</tool_call\"}")])
  }

  @Test func `reasoning is told apart`() throws {
    let tokenizer = try ChatVocabulary.qwen2.get()  // Markers are text here.
    let hybrid = try #require(ChatFormat.named("qwen3", tokenizer: tokenizer))
    let thinker = try #require(ChatFormat.named("qwen3-thinking", tokenizer: tokenizer))
    let question = [ChatMessage(.user, "q")]
    var random = TestRandom(3)
    for _ in 0..<50 {
      var opening = try hybrid.render(question, tokenizer).opening
      let whole = cut("<think>\nso\n\nit is\n</think>\n\nIt is.\n", &random)
      var answer = try parse(whole, opening, hybrid).0
      #expect(answer.reasoning == "so\n\nit is" && answer.content == "It is.\n")
      answer = try parse(cut(" \nno <think>thoughts</think>", &random), opening, hybrid).0
      #expect(answer.reasoning == nil && answer.content == " \nno <think>thoughts</think>")
      opening = try thinker.render(question, tokenizer).opening
      answer = try parse(cut("so\n</think>\n\nIt is.", &random), opening, thinker).0
      #expect(answer.reasoning == "so" && answer.content == "It is.")
      answer = try parse(cut("never over\n", &random), opening, thinker).0
      #expect(answer.reasoning == "never over" && answer.content.isEmpty)
    }
    let off = try hybrid.render(question, tokenizer, options: ChatOptions(thinking: false)).opening
    #expect(AnswerParser(off, format: hybrid) == nil)
  }

  @Test func `a forced call is part of the answer`() throws {
    for name in ["qwen2.5", "qwen3"] {
      let tokenizer = try (name == "qwen3" ? ChatVocabulary.qwen3 : ChatVocabulary.qwen2).get()
      let format = try #require(ChatFormat.named(name, tokenizer: tokenizer))
      for (choice, rest) in [
        (ToolChoice.required, "time\", \"arguments\": {\"a\": 1}}\n"),
        (.function("time"), " {\"a\": 1}}\n"),
      ] {
        let options = ChatOptions(tools: [ChatVocabulary.tool("time")], choice: choice)
        let opening = try format.render([ChatMessage(.user, "q")], tokenizer, options: options)
          .opening
        let answer = try parse([rest], opening, format).0
        #expect(answer.calls == [ToolCall(id: "call_0", name: "time", argumentsText: "{\"a\": 1}")])
        #expect(answer.content.isEmpty && answer.reasoning == nil)
      }
    }
  }
}
