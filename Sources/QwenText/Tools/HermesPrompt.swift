internal import QwenFormats

/// The texts by which Qwen2.5 and Qwen3 were taught to use tools.
enum HermesPrompt {
  /// What stands behind the system text and a blank line.
  static func description(_ tools: [ToolDescription]) -> [ChatBlock.Part] {
    let lead = """
      # Tools

      You may call one or more functions to assist with the user query.

      You are provided with function signatures within <tools></tools> XML tags:
      <tools>
      """
    let signatures = tools.map { "\n" + $0.signature.serializedAsPython() }.joined()
    let middle = """

      </tools>

      For each function call, return a json object with function name and arguments within \

      """
    let example = """

      {"name": <function-name>, "arguments": <args-json-object>}

      """
    return [
      .text(lead + signatures + middle), .marker(.toolCall), .marker(.endToolCall),
      .text(" XML tags:\n"), .marker(.toolCall), .text(example), .marker(.endToolCall),
    ]
  }

  /// What an answer is opened with so that it can only go on as a call.
  static func forced(_ choice: ToolChoice) -> [ChatBlock.Part] {
    switch choice {
    case .auto, .none: []
    case .required: [.marker(.toolCall), .text("\n{\"name\": \"")]
    case .function(let name):
      [.marker(.toolCall), .text("\n{\"name\": \(quoted(name)), \"arguments\":")]
    }
  }

  /// A call as the model would have written it.
  static func call(_ call: ToolCall) -> [ChatBlock.Part] {
    let body = "\n{\"name\": \(quoted(call.name)), \"arguments\": \(call.argumentsText)}\n"
    return [.marker(.toolCall), .text(body), .marker(.endToolCall)]
  }

  private static func quoted(_ text: String) -> String {
    JSONValue.string(text).serializedAsPython()
  }
}

extension ChatFormat {
  /// A conversation in the blocks of the later families; without calls and results, of any family.
  func hermesBlocks(_ messages: [ChatMessage], _ options: ChatOptions) -> [ChatBlock] {
    let lastQuery = lastQuery(messages)
    var blocks: [ChatBlock] = []
    for (index, message) in messages.enumerated() {
      switch message.role {
      case .system: blocks.append(ChatBlock(.system, message.content))
      case .user: blocks.append(ChatBlock(.user, message.content, startsTurn: true))
      case .assistant:
        let isLast = index == messages.count - 1
        var (parts, hasContent) = answer(message, isCurrent: index > lastQuery, isLast: isLast)
        for (number, call) in message.calls.enumerated() {
          if number > 0 || hasContent { parts.append(.text("\n")) }
          parts += HermesPrompt.call(call)
        }
        blocks.append(ChatBlock(.assistant, parts))
      case .tool:
        let result: [ChatBlock.Part] = [
          .marker(.toolResponse), .text("\n\(message.content)\n"), .marker(.endToolResponse),
        ]
        if index > 0, messages[index - 1].role == .tool, !blocks.isEmpty {
          blocks[blocks.count - 1].parts += [.text("\n")] + result
        } else {
          blocks.append(ChatBlock(.user, result))
        }
      }
    }
    if options.continuesFinal, !blocks.isEmpty { blocks[blocks.count - 1].isOpen = true }
    return blocks
  }

  /// The last thing that a user asked, as the template of Qwen3 tells it from results of tools.
  private func lastQuery(_ messages: [ChatMessage]) -> Int {
    messages.lastIndex {
      $0.role == .user
        && !($0.content.beginsWith("<tool_response>") && $0.content.endsWith("</tool_response>"))
    } ?? messages.count - 1
  }

  /// What an assistant said: reasoning is kept behind the last query only, and where the family has it.
  private func answer(
    _ message: ChatMessage, isCurrent: Bool, isLast: Bool
  ) -> (parts: [ChatBlock.Part], hasContent: Bool) {
    guard reasons else { return ([.text(message.content)], !message.content.isEmpty) }
    var content = message.content
    if dialect == .qwq {
      content = content.parts(between: Marker.endThink.rawValue).last ?? ""
      return ([.text(content.droppingLeadingLineFeeds())], !message.content.isEmpty)
    }
    var reasoning = message.reasoning ?? ""
    if message.reasoning == nil {
      let parts = content.parts(between: Marker.endThink.rawValue)
      if parts.count > 1 {
        let before = parts[0].droppingTrailingLineFeeds()
        reasoning = (before.parts(between: Marker.think.rawValue).last ?? "")
          .droppingLeadingLineFeeds()
        content = (parts.last ?? "").droppingLeadingLineFeeds()
      }
    }
    guard isCurrent, isLast || !reasoning.isEmpty else {
      return ([.text(content)], !content.isEmpty)
    }
    reasoning = reasoning.droppingLeadingLineFeeds().droppingTrailingLineFeeds()
    let parts: [ChatBlock.Part] = [
      .marker(.think), .text("\n\(reasoning)\n"), .marker(.endThink),
      .text("\n\n" + content.droppingLeadingLineFeeds()),
    ]
    return (parts, !content.isEmpty)
  }
}
