extension OptionTable {
  /// Options of a chat beside those of any run.
  package static let chatOnly = OptionTable(
    section: "chat",
    options: [
      Option(
        "max_window_size", .integer(1...largeCount), default: nil,
        "Tokens that history may take, older turns are left out; default: the model's own, 6144 for Qwen of 2023."
      ),
      Option(
        "enable_thinking", .bool, default: nil,
        "false opens and closes the reasoning of a Qwen3 for it; default: as the model likes."),
      Option(
        "tool_format", .word(["auto", "react", "hermes"]), default: "auto",
        "How tools are described and called: react is Thought, Action, Action Input; hermes is JSON in <tool_call>; auto takes what the family was trained with."
      ),
      Option(
        "react_wording", .word(["tools", "apis"]), default: "tools",
        "Which of the two published ReAct prompts describes the tools."),
      Option(
        "parallel_tool_calls", .bool, default: true,
        "false ends the answer behind its first call."),
      Option(
        "continue_final_message", .bool, default: false,
        "true goes on with the last message, an assistant's, instead of beginning a new one."),
    ])

  /// Options of a chat.
  package static let chat = OptionTable(
    section: "chat", options: generate.options + chatOnly.options)
}
