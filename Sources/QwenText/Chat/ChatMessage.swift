/// One message of a conversation. Whatever it says is text, never control tokens.
package struct ChatMessage: Sendable, Equatable {
  /// Who speaks, as the templates name them.
  package enum Role: String, Sendable, CaseIterable {
    case system, user, assistant, tool
  }

  package var role: Role
  package var content: String
  /// What an assistant thought before its answer; nil if that is not told apart from `content`.
  package var reasoning: String?
  /// Tools that an assistant called, in order.
  package var calls: [ToolCall]
  /// Of a tool's result: the call it answers; nil for the next one in order.
  package var callID: String?

  package init(
    _ role: Role, _ content: String, reasoning: String? = nil, calls: [ToolCall] = [],
    callID: String? = nil
  ) {
    self.role = role
    self.content = content
    self.reasoning = reasoning
    self.calls = calls
    self.callID = callID
  }
}

/// One call of a tool, as a model wrote it or as a request reports it.
package struct ToolCall: Sendable, Equatable {
  /// Unique in its conversation.
  package var id: String
  package var name: String
  /// The arguments as they were written.
  package var argumentsText: String

  package init(id: String, name: String, argumentsText: String) {
    self.id = id
    self.name = name
    self.argumentsText = argumentsText
  }
}
