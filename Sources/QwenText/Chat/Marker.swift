/// Texts that structure what later Qwen models write. Where the vocabulary has a special token of that text the
/// marker is this token and nothing else; elsewhere it is ordinary text.
package enum Marker: String, Sendable, CaseIterable {
  case toolCall = "<tool_call>"
  case endToolCall = "</tool_call>"
  case toolResponse = "<tool_response>"
  case endToolResponse = "</tool_response>"
  case think = "<think>"
  case endThink = "</think>"
}
