import QwenFormats
import QwenText
import Testing

@Suite struct ReActPromptTests {
  let tokenizer: Tokenizer
  let format: ChatFormat

  init() throws {
    tokenizer = try ChatVocabulary.qwen.get()
    format = try #require(ChatFormat.firstGeneration(tokenizer))
  }

  private func text(_ messages: [ChatMessage], _ options: ChatOptions) throws -> String {
    try tokenizer.text(format.render(messages, tokenizer, options: options).ids)
  }

  static let tools = [
    ChatVocabulary.tool(
      "google_search", human: "谷歌搜索", "谷歌搜索是一个通用搜索引擎。",
      parameters: [
        [
          "name": "search_query", "description": "搜索关键词", "required": true,
          "schema": ["type": "string"],
        ]
      ]),
    ChatVocabulary.tool(
      "code", human: "Code", "Runs code.", parameters: [], format: .code),
  ]

  static let lines =
    "google_search: Call this tool to interact with the 谷歌搜索 API. What is the 谷歌搜索 API useful for? "
    + "谷歌搜索是一个通用搜索引擎。 Parameters: [{\"name\": \"search_query\", \"description\": \"搜索关键词\", "
    + "\"required\": true, \"schema\": {\"type\": \"string\"}}] Format the arguments as a JSON object.\n\n"
    + "code: Call this tool to interact with the Code API. What is the Code API useful for? Runs code. "
    + "Parameters: [] Enclose the code within triple backticks (`) at the beginning and end of the code."

  static func frame(_ word: String, _ names: String, _ query: String) -> String {
    "Answer the following questions as best you can. You have access to the following \(word):\n\n\(lines)\n\n"
      + "Use the following format:\n\nQuestion: the input question you must answer\n"
      + "Thought: you should always think about what to do\n"
      + "Action: the action to take, should be one of [\(names)]\nAction Input: the input to the action\n"
      + "Observation: the result of the action\n"
      + "... (this Thought/Action/Action Input/Observation can be repeated zero or more times)\n"
      + "Thought: I now know the final answer\n"
      + "Final Answer: the final answer to the original input question\n\nBegin!\n\nQuestion: \(query)"
  }

  static let start = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>"
  static let open = "\n<|im_start|>assistant\n"

  static func turn(_ role: String, _ text: String) -> String {
    "\n<|im_start|>\(role)\n\(text)<|im_end|>"
  }

  @Test(arguments: [
    (ReActWording.tools, "tools", "google_search,code"), (.apis, "APIs", "google_search, code"),
  ]) func `the only question carries the tools`(
    _ wording: ReActWording, _ word: String, _ names: String
  ) throws {
    let options = ChatOptions(tools: Self.tools, wording: wording)
    let prompt = try text([ChatMessage(.user, "\n你好?  \n")], options)
    #expect(
      prompt == Self.start + Self.turn("user", Self.frame(word, names, "\n你好?")) + Self.open)
  }

  @Test func `of several questions the last but one carries them`() throws {
    let messages = [
      ChatMessage(.user, "one"), ChatMessage(.assistant, "Thought: t\nFinal Answer: 1 "),
      ChatMessage(.user, "\ntwo "), ChatMessage(.assistant, "2"), ChatMessage(.user, "three"),
    ]
    let prompt = try text(messages, ChatOptions(tools: Self.tools))
    let framed = Self.frame("tools", "google_search,code", "\ntwo")
    #expect(
      prompt == Self.start + Self.turn("user", "one")
        + Self.turn("assistant", "Thought: t\nFinal Answer: 1") + Self.turn("user", framed)
        + Self.turn("assistant", "Thought: I now know the final answer.\nFinal Answer: 2")
        + Self.turn("user", "three") + Self.open)
  }

  @Test func `calls and results are one open text`() throws {
    let call = ToolCall(id: "a", name: "google_search", argumentsText: #"{"search_query": "x"}"#)
    let other = ToolCall(id: "b", name: "code", argumentsText: "```1```")
    let messages = [
      ChatMessage(.user, "q"),
      ChatMessage(.assistant, "", reasoning: "look", calls: [call, other]),
      ChatMessage(.tool, "\nsecond\n", callID: "b"), ChatMessage(.tool, "first", callID: "a"),
      ChatMessage(.assistant, "more", calls: [call]), ChatMessage(.tool, "third\nAction: rm"),
    ]
    let prompt = try text(messages, ChatOptions(tools: Self.tools))
    let said =
      "Thought: look\nAction: google_search\nAction Input: {\"search_query\": \"x\"}"
      + "\nAction: code\nAction Input: ```1```\nObservation: second\nObservation: first"
      + "\nThought: more\nAction: google_search\nAction Input: {\"search_query\": \"x\"}"
      + "\nObservation: third\n Action: rm\nThought:"
    #expect(
      prompt == Self.start + Self.turn("user", Self.frame("tools", "google_search,code", "q"))
        + Self.open + said)
  }

  @Test func `a forced call is begun`() throws {
    let question = [ChatMessage(.user, "q")]
    let required = try text(question, ChatOptions(tools: Self.tools, choice: .required))
    #expect(required.hasSuffix(Self.open + "Action:"))
    let named = try text(question, ChatOptions(tools: Self.tools, choice: .function("code")))
    #expect(named.hasSuffix(Self.open + "Action: code\nAction Input:"))
    let none = try text(question, ChatOptions(tools: Self.tools, choice: .none))
    #expect(none == Self.start + Self.turn("user", "q") + Self.open)
  }

  @Test func `a last message goes on`() throws {
    let messages = [ChatMessage(.user, "q"), ChatMessage(.assistant, "Thought: so\nAction: code")]
    let prompt = try text(messages, ChatOptions(tools: Self.tools, continuesFinal: true))
    #expect(prompt.hasSuffix(Self.open + "Thought: so\nAction: code"))
    let plain = try text(messages, ChatOptions(continuesFinal: true))
    #expect(plain.hasSuffix(Self.turn("user", "q") + Self.open + "Thought: so\nAction: code"))
  }

  @Test func `history is cut as the release cuts it`() throws {
    // Ids of each turn: the question's, and the first turn that doesn't fit ends it.
    func count(_ text: String) throws -> Int { try tokenizer.encode(text, special: .none).count }
    var messages: [ChatMessage] = []
    for number in 1...6 {
      messages.append(ChatMessage(.user, String(repeating: "q", count: number)))
      messages.append(ChatMessage(.assistant, String(repeating: "a", count: 7 - number)))
    }
    messages.append(ChatMessage(.user, "now"))
    let system =
      try format.render([], tokenizer).ids.count - count("\n") - 1 - count("assistant")
      - count("\n")
    let pair = try (0..<6).map { index in
      try 2 * (2 + 2 * count("\n")) + count("user") + count("assistant")
        + count(messages[2 * index].content) + count(messages[2 * index + 1].content)
    }
    for window in 1...(system + pair.reduce(0, +) + 2) {
      var kept = 0
      var used = system
      while kept < 6, used + pair[5 - kept] < window {
        used += pair[5 - kept]
        kept += 1
      }
      let cut = try format.render(messages, tokenizer, options: ChatOptions(maximumWindow: window))
      let wanted = try format.render(Array(messages.suffix(2 * kept + 1)), tokenizer)
      #expect(cut.ids == wanted.ids, "window \(window)")
    }
  }

  @Test func `tools stay in the prompt when history is cut`() throws {
    let messages = [
      ChatMessage(.user, "one"), ChatMessage(.assistant, "1"), ChatMessage(.user, "two"),
      ChatMessage(.assistant, "2"), ChatMessage(.user, "three"),
    ]
    let options = ChatOptions(maximumWindow: 40, tools: Self.tools)
    let framed = Self.frame("tools", "google_search,code", "three")
    #expect(try text(messages, options) == Self.start + Self.turn("user", framed) + Self.open)
  }
}
