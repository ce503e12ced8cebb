package import QwenFormats
internal import QwenText

/// A request to generate or chat, read and checked.
package struct Request {
  package let prompt: [Int32]
  package var options: GenerationOptions
  /// Of a chat: earlier pairs and the last user message.
  package let history: [[String]]?
  package let query: String?
  /// The members of the request that are not options: the prompt or the conversation.
  let source: JSONObject

  /// Keys that a request may have beside the options.
  static let promptKeys = ["prompt", "prompt_ids"]
  static let chatKeys = [
    "messages", "query", "history", "system", "max_window_size", "enable_thinking",
  ]

  /// A request with "prompt" or "prompt_ids".
  package static func generate(
    _ model: Model, _ object: JSONObject, prompt text: String? = nil
  ) throws(EngineError) -> Request {
    let checked = try OptionTable.generate.check(object, others: promptKeys)
    let options = try model.options(checked)
    if let value = object["prompt_ids"], !value.isNull {
      guard let ids = value.array?.compactMap({ $0.int.flatMap { Int32(exactly: $0) } }),
        ids.count == value.array?.count
      else { throw wrong("prompt_ids", value, "a list of token ids") }
      return Request(
        prompt: ids, options: options, history: nil, query: nil, source: ["prompt_ids": value])
    }
    guard let text = text ?? object["prompt"]?.string else {
      throw EngineError(
        .option, "the request has no \"prompt\"", key: "prompt",
        hint: "give \"prompt\", \"prompt_ids\", \"messages\" or \"query\"")
    }
    let policy: Tokenizer.SpecialPolicy =
      switch options.special {
      case .none: .none
      case .all: .all
      case .only(let texts): .only(texts)
      }
    do {
      return Request(
        prompt: try model.tokenizer.encode(text, special: policy), options: options, history: nil,
        query: nil, source: ["prompt": .string(text)])
    } catch { throw EngineError(error) }
  }

  /// A request with "messages", or with "query", "history" and "system".
  package static func chat(
    _ model: Model, _ object: JSONObject
  ) throws(EngineError) -> Request {
    let checked = try OptionTable.generate.check(object, others: chatKeys)
    guard let format = model.chat else {
      throw EngineError(
        .unsupported, "this model has no chat format: it continues text",
        hint: "use qwen_generate, or a Chat or Instruct model")
    }
    let messages = try ChatReader(object: object).messages()
    var options = ChatOptions()
    if let value = object["enable_thinking"], !value.isNull {
      guard let bool = value.bool else { throw wrong("enable_thinking", value, "true or false") }
      options.thinking = bool
    }
    options.maximumWindow = model.defaults.maximumWindow ?? (format.dialect == .qwen ? 6144 : nil)
    if let value = object["max_window_size"], !value.isNull {
      guard let window = value.int, window > 0 else {
        throw wrong("max_window_size", value, "a positive integer")
      }
      options.maximumWindow = window
    }
    let prompt: [Int32]
    do {
      prompt = try format.render(messages, model.tokenizer, options: options)
    } catch { throw EngineError(error) }
    return Request(
      prompt: prompt, options: try model.options(checked), history: ChatReader.pairs(messages),
      query: messages.last { $0.role == .user }?.content,
      source: JSONObject(object.entries.filter { chatKeys.contains($0.key) && !$0.value.isNull }))
  }

  /// Either kind, told by its keys.
  package static func any(_ model: Model, _ object: JSONObject) throws(EngineError) -> Request {
    let isChat = object["messages"] != nil || object["query"] != nil
    return isChat ? try chat(model, object) : try generate(model, object)
  }

  static func wrong(_ key: String, _ value: JSONValue, _ wanted: String) -> EngineError {
    EngineError(.option, "\"\(key)\" is \(value.kindName)", key: key, hint: "it takes \(wanted)")
  }
}

extension Model {
  /// The options of a run: request, then this model's own, then the table.
  ///
  /// Throws `.option` for a stop token outside the vocabulary.
  package func options(_ request: JSONObject) throws(EngineError) -> GenerationOptions {
    let rows = configuration.vocabularyRows
    if let bad = request["stop_ids"]?.array?.first(where: { ($0.int ?? 0) >= rows }) {
      throw EngineError(
        .option, "\"stop_ids\" has \(bad.int ?? 0), outside the vocabulary of \(rows)",
        key: "stop_ids")
    }
    var options = GenerationOptions(request, defaults: defaults.options, stopIDs: stopIDs)
    if let bad = options.sampling.logitBias.keys.first(where: { Int($0) >= rows }) {
      throw EngineError(
        .option, "\"logit_bias\" has \(bad), outside the vocabulary of \(rows)", key: "logit_bias")
    }
    if options.sampling.dry.multiplier > 0 {
      let texts =
        request["dry_sequence_breakers"] ?? OptionTable.generate.fallback("dry_sequence_breakers")
      options.sampling.dry.breakers = try breakers(GenerationOptions.strings(texts))
    }
    return options
  }

  /// The last token of each text where it follows a letter.
  private func breakers(_ texts: [String]) throws(EngineError) -> Set<Int32> {
    var ids: Set<Int32> = []
    for text in texts {
      do {
        if let id = try tokenizer.encode("a" + text, special: .none).last { ids.insert(id) }
      } catch { throw EngineError(error) }
    }
    return ids
  }
}

/// Reads the conversation of a chat request.
private struct ChatReader {
  let object: JSONObject

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
      let place = "message \(index)"
      guard let fields = entry.object else {
        throw EngineError(.option, "\(place) is \(entry.kindName)", key: "messages", hint: hint)
      }
      if let key = fields.keys.first(where: { $0 != "role" && $0 != "content" }) {
        throw EngineError(
          .option, "\(place) has the unknown key \"\(escaped(key))\"", key: "messages", hint: hint)
      }
      guard let name = fields["role"]?.string, let role = ChatMessage.Role(rawValue: name) else {
        throw EngineError(
          .option, "\(place) has no role of \"system\", \"user\", \"assistant\"", key: "messages",
          hint: hint)
      }
      guard let content = fields["content"]?.string else {
        throw EngineError(.option, "\(place) has no text", key: "messages", hint: hint)
      }
      if role == .system, index > 0 {
        throw EngineError(
          .option, "\(place) is a system message, which can only be the first", key: "messages")
      }
      messages.append(ChatMessage(role, content))
    }
    return messages
  }

  private let hint = "a message is {\"role\": \"user\", \"content\": \"...\"}"

  init(object: JSONObject) { self.object = object }

  /// The finished question-answer pairs of a conversation.
  static func pairs(_ messages: [ChatMessage]) -> [[String]] {
    var pairs: [[String]] = []
    var question: String?
    for message in messages {
      switch message.role {
      case .system: break
      case .user: question = message.content
      case .assistant:
        if let asked = question { pairs.append([asked, message.content]) }
        question = nil
      }
    }
    return pairs
  }
}
