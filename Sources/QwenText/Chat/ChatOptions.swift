/// Choices of one chat request.
package struct ChatOptions: Sendable, Equatable {
  /// nil leaves it to the model; false opens and closes its reasoning for it (Qwen3).
  package var thinking: Bool?
  /// Tokens that history may take, oldest turns dropped first; nil for all.
  package var maximumWindow: Int?
  /// Tools that the model is told of.
  package var tools: [ToolDescription]
  package var choice: ToolChoice
  /// How tools are described and called; nil for the family's own way.
  package var syntax: ToolSyntax?
  package var wording: ReActWording
  /// Whether the last message, an assistant's, goes on rather than a new one beginning.
  package var continuesFinal: Bool

  package init(
    thinking: Bool? = nil, maximumWindow: Int? = nil, tools: [ToolDescription] = [],
    choice: ToolChoice = .auto, syntax: ToolSyntax? = nil, wording: ReActWording = .tools,
    continuesFinal: Bool = false
  ) {
    self.thinking = thinking
    self.maximumWindow = maximumWindow
    self.tools = tools
    self.choice = choice
    self.syntax = syntax
    self.wording = wording
    self.continuesFinal = continuesFinal
  }

  /// The tools that the prompt shows.
  var shownTools: [ToolDescription] { choice == .none ? [] : tools }
}

/// Whether an answer is to call a tool.
package enum ToolChoice: Sendable, Equatable {
  /// As the model likes.
  case auto
  /// The prompt names no tools and the answer is not searched for calls.
  case none
  /// The answer is opened with the beginning of a call.
  case required
  /// The answer is opened with a call of this tool, up to its arguments.
  case function(String)
}

/// How a model writes calls.
package enum ToolSyntax: String, Sendable, CaseIterable {
  /// Thought, Action, Action Input, Observation: Qwen of 2023.
  case react
  /// JSON between `<tool_call>` and `</tool_call>`: the later families.
  case hermes
}

/// The two published wordings of the ReAct prompt.
package enum ReActWording: String, Sendable, CaseIterable {
  /// "the following tools", names joined by ",": the single-turn documentation.
  case tools
  /// "the following APIs", names joined by ", ": the multi-turn demonstration and the server.
  case apis
}
