/// Choices of one chat request.
package struct ChatOptions: Sendable, Equatable {
  /// nil leaves it to the model; false opens and closes its reasoning for it (Qwen3).
  package var thinking: Bool?
  /// Tokens that history may take, oldest turns dropped first; nil for all.
  package var maximumWindow: Int?

  package init(thinking: Bool? = nil, maximumWindow: Int? = nil) {
    self.thinking = thinking
    self.maximumWindow = maximumWindow
  }
}

extension ChatFormat {
  /// The prompt of a conversation: control ids from the format, everything else encoded as ordinary text, so
  /// that no content can make a control token.
  ///
  /// Ends with the opening of the assistant's turn. Turns that do not fit the window are left out, oldest
  /// first; the system message and what follows the last user message always stay.
  package func render(
    _ messages: [ChatMessage], _ tokenizer: Tokenizer, options: ChatOptions = ChatOptions()
  ) throws(TokenizerError) -> [Int32] {
    var rest = messages[...]
    var system = defaultSystem
    if let first = rest.first, first.role == .system {
      system = first.content
      rest = rest.dropFirst()
    }
    var prompt: [Int32] = []
    if let system { prompt = try block(ChatMessage(.system, system), tokenizer, isFirst: true) }

    let current = rest.lastIndex { $0.role == .user } ?? rest.startIndex
    let turns = try turns(rest[rest.startIndex..<current], tokenizer, isFirst: system == nil)
    prompt += window(turns, system: prompt.count, options.maximumWindow)
    for message in rest[current...] {
      prompt += try block(message, tokenizer, isFirst: prompt.isEmpty)
    }
    prompt += try opening(tokenizer, isFirst: prompt.isEmpty, options: options)
    return prompt
  }

  /// The blocks of each turn: a user message and what follows it up to the next.
  private func turns(
    _ messages: ArraySlice<ChatMessage>, _ tokenizer: Tokenizer, isFirst: Bool
  ) throws(TokenizerError) -> [[Int32]] {
    var turns: [[Int32]] = []
    for message in messages {
      if message.role == .user || turns.isEmpty { turns.append([]) }
      var message = message
      if message.role == .assistant, dialect == .qwen3 {
        message.content = ChatFormat.withoutReasoning(message.content)
      }
      let isVeryFirst = isFirst && turns.count == 1 && turns[0].isEmpty
      turns[turns.count - 1] += try block(message, tokenizer, isFirst: isVeryFirst)
    }
    return turns
  }

  /// The newest turns that fit: a turn is kept while system, it and the kept ones stay below the window.
  private func window(_ turns: [[Int32]], system: Int, _ maximum: Int?) -> [Int32] {
    guard let maximum else { return Array(turns.joined()) }
    var kept: [[Int32]] = []
    var used = system
    for turn in turns.reversed() {
      guard used + turn.count < maximum else { break }
      used += turn.count
      kept.append(turn)
    }
    return Array(kept.reversed().joined())
  }

  /// One message between control tokens.
  private func block(
    _ message: ChatMessage, _ tokenizer: Tokenizer, isFirst: Bool
  ) throws(TokenizerError) -> [Int32] {
    if dialect == .qwen {
      // The line feed stands before each block but the first, and role, line feed and content are apart.
      let feed = try tokenizer.encodeOrdinary("\n")
      return try (isFirst ? [] : feed) + [start]
        + tokenizer.encodeOrdinary(message.role.rawValue) + feed
        + tokenizer.encodeOrdinary(message.content) + [end]
    }
    return try [start]
      + tokenizer.encodeOrdinary(message.role.rawValue + "\n" + message.content) + [end]
      + tokenizer.encodeOrdinary("\n")
  }

  /// What opens the assistant's answer.
  private func opening(
    _ tokenizer: Tokenizer, isFirst: Bool, options: ChatOptions
  ) throws(TokenizerError) -> [Int32] {
    let role = ChatMessage.Role.assistant.rawValue
    if dialect == .qwen {
      let feed = try tokenizer.encodeOrdinary("\n")
      return try (isFirst ? [] : feed) + [start] + tokenizer.encodeOrdinary(role) + feed
    }
    var ids = try [start] + tokenizer.encodeOrdinary(role + "\n")
    if dialect == .qwen3, options.thinking == false {
      ids += try tokenizer.encode(
        "<think>\n\n</think>\n\n", special: .only(["<think>", "</think>"]))
    }
    return ids
  }

  /// An earlier answer as the template keeps it: what follows the end of its reasoning.
  static func withoutReasoning(_ content: String) -> String {
    let mark = Array("</think>".utf8)
    let bytes = Array(content.utf8)
    guard bytes.count >= mark.count else { return content }
    var index = bytes.count - mark.count
    while index >= 0 {
      if bytes[index..<index + mark.count].elementsEqual(mark) {
        let rest = bytes[(index + mark.count)...].drop { $0 == 0x0A }
        return String(decoding: rest, as: UTF8.self)
      }
      index -= 1
    }
    return content
  }
}
