internal import QwenFormats

/// The texts by which Qwen of 2023 was taught to use tools.
enum ReActPrompt {
  /// The content of the user turn that describes the tools and asks `query`.
  static func question(
    _ query: String, _ tools: [ToolDescription], _ wording: ReActWording
  ) -> String {
    let word = wording == .tools ? "tools" : "APIs"
    let names = tools.map(\.name).joined(separator: wording == .tools ? "," : ", ")
    return """
      Answer the following questions as best you can. You have access to the following \(word):

      \(tools.map(line).joined(separator: "\n\n"))

      Use the following format:

      Question: the input question you must answer
      Thought: you should always think about what to do
      Action: the action to take, should be one of [\(names)]
      Action Input: the input to the action
      Observation: the result of the action
      ... (this Thought/Action/Action Input/Observation can be repeated zero or more times)
      Thought: I now know the final answer
      Final Answer: the final answer to the original input question

      Begin!

      Question: \(query)
      """
  }

  /// One tool.
  private static func line(_ tool: ToolDescription) -> String {
    let human = tool.humanName
    var text = "\(tool.name): Call this tool to interact with the \(human) API. "
    text += "What is the \(human) API useful for? \(tool.description) "
    text += "Parameters: \(tool.parameters.serializedAsPython())"
    switch tool.argumentsFormat {
    case .json: text += " Format the arguments as a JSON object."
    case .code:
      text += " Enclose the code within triple backticks (`) at the beginning and end of the code."
    case .none: break
    }
    return text
  }

  /// What an answer is opened with so that it can only go on as a call.
  static func forced(_ choice: ToolChoice) -> [ChatBlock.Part] {
    switch choice {
    case .auto, .none: []
    case .required: [.text("Action:")]
    case .function(let name): [.text("Action: \(name)\nAction Input:")]
    }
  }

  /// A tool's result as it stands behind "Observation: ": a line that begins with one of the words that
  /// structure the conversation gets a space before it, so that a result can't go on in the model's voice.
  static func observation(_ result: String) -> String {
    let lines = result.droppingLeadingLineFeeds().droppingTrailingSpace().parts(between: "\n")
    let safe = lines.enumerated().map { index, line in
      index > 0 && words.contains { line.beginsWith($0) } ? " " + line : line
    }
    return safe.joined(separator: "\n")
  }

  private static let words = [
    "Question:", "Thought:", "Action:", "Action Input:", "Observation:", "Final Answer:",
  ]
}

extension ChatFormat {
  /// A conversation with tools as user and assistant texts: calls and results are part of the assistant's
  /// text, and the tools are described in the only or the last but one user text.
  func reactBlocks(_ messages: [ChatMessage], _ options: ChatOptions) -> [ChatBlock] {
    let tools = options.shownTools
    let questions = messages.count { $0.role == .user }
    let described = max(0, questions - 2)
    var asked = 0
    var blocks: [ChatBlock] = []
    var answer: ReActAnswer?
    func finishAnswer() {
      if let text = answer?.text { blocks.append(ChatBlock(.assistant, text)) }
      answer = nil
    }
    for message in messages {
      switch message.role {
      case .system, .user:
        finishAnswer()
        var text = message.content
        if message.role == .user {
          if asked == described, !tools.isEmpty {
            text = ReActPrompt.question(text, tools, options.wording)
          }
          asked += 1
        }
        text = text.droppingLeadingLineFeeds().droppingTrailingSpace()
        blocks.append(ChatBlock(message.role, text, startsTurn: message.role == .user))
      case .assistant:
        var current = answer ?? ReActAnswer()
        current.append(message, hasTools: !tools.isEmpty)
        answer = current
      case .tool:
        var current = answer ?? ReActAnswer()
        current.append(result: message)
        answer = current
      }
    }
    guard var last = answer else { return blocks }
    if messages.last?.role == .tool, !options.continuesFinal {
      let forced = ReActPrompt.forced(options.choice)
      if case .text(let text)? = forced.first {
        last.text += "\n" + text
      } else {
        last.text += "\nThought:"
      }
      blocks.append(ChatBlock(.assistant, last.text))
      blocks[blocks.count - 1].isOpen = true
    } else {
      blocks.append(ChatBlock(.assistant, last.text))
      blocks[blocks.count - 1].isOpen = options.continuesFinal
    }
    return blocks
  }
}

/// The text of an assistant's turn in ReAct, put together from its messages and the results of its tools.
private struct ReActAnswer {
  var text = ""
  /// Calls whose results have not come yet, with the text that is to stand before each.
  private var waiting: [(id: String, text: String)] = []

  /// A message of the assistant: its thought and calls, or its final answer.
  mutating func append(_ message: ChatMessage, hasTools: Bool) {
    flush()
    let content = message.content.droppingLeadingLineFeeds().droppingTrailingSpace()
    guard let first = message.calls.first else {
      join(hasTools || !text.isEmpty ? final(content, message.reasoning) : content)
      return
    }
    let thought = message.reasoning ?? content
    var lead = thought.beginsWith("Thought:") ? thought : "Thought: " + thought
    if message.reasoning != nil, !content.isEmpty { lead += "\n" + content }
    join(lead)
    text += action(first)
    waiting = message.calls.dropFirst().map { ($0.id, action($0)) }
    waiting.insert((first.id, ""), at: 0)
  }

  /// The result of a tool: behind its call, or behind all that is there if no call waits.
  mutating func append(result: ChatMessage) {
    let index = result.callID.flatMap { id in waiting.firstIndex { $0.id == id } } ?? 0
    if waiting.indices.contains(index) { text += waiting.remove(at: index).text }
    text += "\nObservation: " + ReActPrompt.observation(result.content)
  }

  /// Calls that never got a result stand there without one.
  private mutating func flush() {
    for call in waiting { text += call.text }
    waiting = []
  }

  private mutating func join(_ part: String) { text += text.isEmpty ? part : "\n" + part }

  private func action(_ call: ToolCall) -> String {
    "\nAction: \(call.name)\nAction Input: \(call.argumentsText)"
  }

  /// A final answer, unless it is told as one already.
  private func final(_ content: String, _ reasoning: String?) -> String {
    if content.beginsWith("Thought:") || content.beginsWith("Final Answer:")
      || content.holds("\nFinal Answer:")
    {
      return content
    }
    return "Thought: \(reasoning ?? "I now know the final answer.")\nFinal Answer: \(content)"
  }
}
