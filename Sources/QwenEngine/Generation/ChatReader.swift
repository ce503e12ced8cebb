internal import QwenFormats
internal import QwenText

/// Reads the conversation of a chat request.
struct ChatReader {
  let object: JSONObject

  init(object: JSONObject) { self.object = object }

  /// The messages of "messages", or of "query", "history" and "system".
  func messages() throws(EngineError) -> [ChatMessage] {
    if let value = object["messages"], !value.isNull { return try listed(value) }
    guard let value = object["query"] else {
      throw EngineError(
        .option, "the request has neither \"messages\" nor \"query\"", key: "messages")
    }
    guard let query = value.string else { throw Request.wrong("query", value, "a string") }
    var messages: [ChatMessage] = []
    if let value = object["system"], !value.isNull {
      guard let system = value.string else { throw Request.wrong("system", value, "a string") }
      messages.append(ChatMessage(.system, system))
    }
    if let value = object["history"], !value.isNull {
      guard let pairs = value.array else {
        throw Request.wrong("history", value, "a list of [question, answer] pairs")
      }
      for (index, pair) in pairs.enumerated() {
        guard let both = pair.array, both.count == 2, let question = both[0].string,
          let answer = both[1].string
        else {
          throw EngineError(
            .option, "\"history\" has no pair of strings at \(index)", key: "history",
            hint: "it takes [[\"question\", \"answer\"], ...]")
        }
        messages.append(ChatMessage(.user, question))
        messages.append(ChatMessage(.assistant, answer))
      }
    }
    return messages + [ChatMessage(.user, query)]
  }

  private func listed(_ value: JSONValue) throws(EngineError) -> [ChatMessage] {
    guard let list = value.array, !list.isEmpty else {
      throw Request.wrong("messages", value, "a list of at least one message")
    }
    for key in ["query", "history", "system"] where object[key] != nil {
      throw EngineError(
        .option, "\"\(key)\" can't stand beside \"messages\"", key: key,
        hint: "say everything in \"messages\"")
    }
    var messages: [ChatMessage] = []
    for (index, entry) in list.enumerated() {
      let message = try MessageReader(place: "message \(index)", entry).message()
      if message.role == .system, index > 0 {
        throw EngineError(
          .option, "message \(index) is a system message, which can only be the first",
          key: "messages")
      }
      if message.role == .tool {
        guard let before = messages.last, before.role == .tool || before.role == .assistant else {
          throw EngineError(
            .option,
            "message \(index) is a tool's result, but no assistant message stands before it",
            key: "messages", hint: "give the assistant's message with its \"tool_calls\" as well")
        }
      }
      messages.append(message)
    }
    return messages
  }

  /// The finished question-answer pairs of a conversation.
  static func pairs(_ messages: [ChatMessage]) -> [[String]] {
    var pairs: [[String]] = []
    var question: String?
    for message in messages {
      switch message.role {
      case .system, .tool: break
      case .user: question = message.content
      case .assistant:
        guard message.calls.isEmpty else { break }
        if let asked = question { pairs.append([asked, message.content]) }
        question = nil
      }
    }
    return pairs
  }
}

/// Reads one message.
private struct MessageReader {
  let place: String
  let fields: JSONObject

  private static let hint =
    "a message is {\"role\": \"system\" | \"user\" | \"assistant\" | \"tool\", \"content\": \"...\"}"
  private static let keys = [
    "role", "content", "name", "tool_calls", "function_call", "tool_call_id", "reasoning_content",
    "refusal", "annotations", "audio",
  ]

  init(place: String, _ value: JSONValue) throws(EngineError) {
    self.place = place
    guard let fields = value.object else {
      throw MessageReader.wrong("\(place) is \(value.kindName)")
    }
    self.fields = fields
  }

  func message() throws(EngineError) -> ChatMessage {
    if let key = fields.keys.first(where: { !MessageReader.keys.contains($0) }) {
      throw MessageReader.wrong("\(place) has the unknown key \"\(escaped(key))\"")
    }
    let word = fields["role"]?.string
    guard let role = word.flatMap({ ChatMessage.Role(rawValue: $0 == "function" ? "tool" : $0) })
    else {
      throw MessageReader.wrong(
        "\(place) has no role of \"system\", \"user\", \"assistant\", \"tool\"")
    }
    var message = ChatMessage(role, "")
    message.reasoning = try text("reasoning_content")
    message.callID = try text("tool_call_id")
    _ = try text("name")
    message.calls = try calls()
    if role != .assistant, !message.calls.isEmpty {
      throw MessageReader.wrong("\(place) has \"tool_calls\", which only an assistant makes")
    }
    guard let content = try content() else {
      guard !message.calls.isEmpty else { throw MessageReader.wrong("\(place) has no text") }
      return message
    }
    message.content = content
    return message
  }

  /// A string, or a list of parts with texts.
  private func content() throws(EngineError) -> String? {
    guard let value = fields["content"], !value.isNull else { return nil }
    if let text = value.string { return text }
    guard let parts = value.array else {
      throw MessageReader.wrong("\(place) has no text: \"content\" is \(value.kindName)")
    }
    var whole = ""
    for part in parts {
      guard part["type"]?.string == "text", let text = part["text"]?.string else {
        throw MessageReader.wrong("\(place) has a part of \"content\" that is no text")
      }
      whole += text
    }
    return whole
  }

  private func text(_ key: String) throws(EngineError) -> String? {
    guard let value = fields[key], !value.isNull else { return nil }
    guard let text = value.string else {
      throw MessageReader.wrong("\(place): \"\(key)\" is \(value.kindName)")
    }
    return text
  }

  private func calls() throws(EngineError) -> [ToolCall] {
    var entries: [JSONValue] = []
    if let value = fields["tool_calls"], !value.isNull {
      guard let list = value.array else {
        throw MessageReader.wrong("\(place): \"tool_calls\" is \(value.kindName), not a list")
      }
      entries = list
    } else if let call = fields["function_call"], !call.isNull {
      entries = [call]
    }
    var calls: [ToolCall] = []
    for (index, entry) in entries.enumerated() {
      let function = entry["function"] ?? entry
      guard let name = function["name"]?.string, !name.isEmpty else {
        throw MessageReader.wrong("\(place): call \(index) has no \"name\"")
      }
      try ToolReader.check(name: name, "\(place): call \(index)", key: "messages")
      let arguments: String
      switch function["arguments"] {
      case .string(let text)?: arguments = text
      case .object(let object)?: arguments = JSONValue.object(object).serializedAsPython()
      case nil, .null?: arguments = "{}"
      case let other?:
        throw MessageReader.wrong(
          "\(place): call \(index) has \"arguments\" that are \(other.kindName)")
      }
      let id = entry["id"]?.string ?? ""
      calls.append(ToolCall(id: id, name: name, argumentsText: arguments))
    }
    return calls
  }

  static func wrong(_ message: String) -> EngineError {
    EngineError(.option, message, key: "messages", hint: hint)
  }
}
