package import QwenFormats

/// One tool as a request describes it, in the words that both ways of prompting need.
package struct ToolDescription: Sendable, Equatable {
  /// How the model is asked to write the arguments (ReAct).
  package enum ArgumentsFormat: String, Sendable, CaseIterable {
    case json, code
    /// The prompt says nothing of it.
    case none
  }

  package var name: String
  /// What people call it.
  package var humanName: String
  package var description: String
  /// As given: a JSON Schema, or the release's list of parameters.
  package var parameters: JSONValue
  package var argumentsFormat: ArgumentsFormat
  /// The tool as `<tools>` shows it: {"type": "function", "function": {...}}.
  package var signature: JSONValue

  package init(
    name: String, humanName: String, description: String, parameters: JSONValue,
    argumentsFormat: ArgumentsFormat, signature: JSONValue
  ) {
    self.name = name
    self.humanName = humanName
    self.description = description
    self.parameters = parameters
    self.argumentsFormat = argumentsFormat
    self.signature = signature
  }
}
