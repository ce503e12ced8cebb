package import QwenFormats
internal import QwenText

/// A request to generate or chat, read and checked.
package struct Request {
  package let prompt: [Int32]
  package var options: GenerationOptions
  /// What a chat knows beside its prompt; nil for plain text.
  let chat: ChatContext?
  /// The members of the request that are not options: the prompt or the conversation.
  let source: JSONObject

  /// Keys that a request may have beside the options.
  static let promptKeys = ["prompt", "prompt_ids"]
  static let chatKeys = ["messages", "query", "history", "system", "tools", "tool_choice"]

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
        prompt: ids, options: options, chat: nil, source: ["prompt_ids": value])
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
        prompt: try model.tokenizer.encode(text, special: policy), options: options, chat: nil,
        source: ["prompt": .string(text)])
    } catch { throw EngineError(error) }
  }

  /// A request with "messages", or with "query", "history" and "system".
  package static func chat(
    _ model: Model, _ object: JSONObject
  ) throws(EngineError) -> Request {
    let checked = try OptionTable.chat.check(object, others: chatKeys)
    guard let format = model.chat else {
      throw model.chatChoice.refusal ?? EngineError(.unsupported, "this model does not chat")
    }
    let messages = try ChatReader(object: object).messages()
    let reader = ToolReader(object: object)
    let tools = try reader.tools()
    var options = ChatOptions(tools: tools, choice: try reader.choice(tools))
    options.thinking = checked["enable_thinking"]?.bool
    options.maximumWindow =
      checked["max_window_size"]?.int ?? model.defaults.maximumWindow
      ?? (format.dialect == .qwen ? 6144 : nil)
    options.syntax = checked["tool_format"]?.string.flatMap(ToolSyntax.init) ?? format.toolSyntax
    if options.syntax == nil, !tools.isEmpty {
      throw EngineError(
        .unsupported, "this model calls tools in a way that this library doesn't know",
        key: "tools",
        hint: "choose a \"tool_format\" that it may follow as well, \"hermes\" or \"react\"")
    }
    options.wording = checked["react_wording"]?.string.flatMap(ReActWording.init) ?? .tools
    options.continuesFinal = checked["continue_final_message"]?.bool ?? false
    if options.continuesFinal, messages.last?.role != .assistant {
      throw EngineError(
        .option, "\"continue_final_message\" is true, but the last message is not an assistant's",
        key: "continue_final_message")
    }
    let rendered: RenderedChat
    do {
      rendered = try format.render(messages, model.tokenizer, options: options)
    } catch { throw EngineError(error) }
    return Request(
      prompt: rendered.ids, options: try model.options(checked),
      chat: ChatContext(
        history: ChatReader.pairs(messages), query: messages.last { $0.role == .user }?.content,
        continued: options.continuesFinal ? messages.last?.content : nil,
        opening: rendered.opening, parser: AnswerParser(rendered.opening, format: format),
        isSingleCall: checked["parallel_tool_calls"]?.bool == false),
      source: JSONObject(
        object.entries.filter { entry in
          !entry.value.isNull
            && (chatKeys.contains(entry.key)
              || OptionTable.chatOnly.options.contains { $0.name == entry.key })
        }))
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

/// What a chat knows beside its prompt.
struct ChatContext: Sendable {
  /// Finished pairs before this turn, and what is asked now.
  var history: [[String]]
  var query: String?
  /// The text of the message that goes on.
  var continued: String?
  var opening: AnswerOpening
  /// Takes the answer apart; nil where it is nothing but text.
  var parser: AnswerParser?
  /// Whether the answer ends with its first call.
  var isSingleCall: Bool
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
