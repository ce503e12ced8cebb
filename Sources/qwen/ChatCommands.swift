import CQwen

/// The commands of the interactive conversation.
extension ChatLoop {
  private enum Command: CaseIterable {
    case help, quit, clear, history, clearHistory, system, seed, set, settings, reset

    /// Names without the colon, the first one is shown.
    var names: [String] {
      switch self {
      case .help: return ["help", "h"]
      case .quit: return ["quit", "q", "exit"]
      case .clear: return ["clear", "cl"]
      case .history: return ["history", "his"]
      case .clearHistory: return ["clear-history", "clear-his", "clh"]
      case .system: return ["system"]
      case .seed: return ["seed"]
      case .set: return ["set", "conf"]
      case .settings: return ["settings"]
      case .reset: return ["reset", "reset-conf"]
      }
    }

    var help: (operands: String, sentence: String) {
      switch self {
      case .help: return ("", "Shows this list.")
      case .quit: return ("", "Leaves, as Ctrl-D does.")
      case .clear: return ("", "Clears the screen.")
      case .history: return ("", "Shows the conversation.")
      case .clearHistory: return ("", "Forgets the conversation; the system text stays.")
      case .system: return (" [TEXT]", "Shows or sets what the model is told beforehand.")
      case .seed:
        return (" [N]", "Shows or sets where the random generator starts for each answer.")
      case .set: return (" KEY=VALUE", "Changes a setting, as :set temperature=0.7.")
      case .settings: return ("", "Shows all settings.")
      case .reset: return ("", "Takes back all changed settings.")
      }
    }
  }

  /// Obeys a line that starts with a colon. False means: leave.
  static func obey(
    _ line: String, _ model: borrowing Model, _ session: borrowing Session,
    _ conversation: inout Conversation, _ invocation: Invocation
  ) throws(Failure) -> Bool {
    let parts = line.dropFirst().split(separator: " ", maxSplits: 1)
    let name = parts.first.map(String.init) ?? ""
    let operand = parts.count > 1 ? String(parts[1]).trimmed : ""
    guard let command = Command.allCases.first(where: { $0.names.contains(name) }) else {
      let known = Command.allCases.flatMap(\.names)
      let hint = nearest(name, in: known).map { " Did you mean :\($0)?" } ?? ""
      Terminal.writeLine("There is no :\(name).\(hint) :help lists the commands.")
      return true
    }
    switch command {
    case .quit: return false
    case .help: showCommands()
    case .clear: Terminal.write("\u{1B}[2J\u{1B}[3J\u{1B}[H")
    case .history:
      for turn in conversation.turns {
        Terminal.writeLine("you> \(turn.question)\nqwen> \(turn.answer)")
      }
      if conversation.turns.isEmpty { Terminal.writeLine("Nothing was said yet.") }
    case .clearHistory:
      conversation.forget()
      try session.reset()
      Terminal.writeLine("The conversation is forgotten.")
    case .system:
      if !operand.isEmpty { conversation.system = operand }
      Terminal.writeLine("system: \(conversation.system ?? "(the model's own)")")
    case .seed:
      if operand.isEmpty {
        Terminal.writeLine("seed = \(conversation.settings.value("generate", "seed")?.text ?? "")")
      } else {
        change("seed=\(operand)", model, &conversation, invocation.table)
      }
    case .set: change(operand, model, &conversation, invocation.table)
    case .settings: showSettings(conversation, invocation.table)
    case .reset:
      conversation.settings = conversation.initialSettings
      Terminal.writeLine("The settings are those of the start.")
    }
    return true
  }

  private static func showCommands() {
    Terminal.write(
      Subcommand.layOut(
        Command.allCases.map { (":\($0.names[0])\($0.help.operands)", $0.help.sentence) }))
    Terminal.writeLine("  A line that ends with \\ goes on in the next line.")
  }

  private static func showSettings(_ conversation: Conversation, _ table: OptionTable) {
    for option in table.options where option.section == "generate" {
      let value = conversation.settings.value("generate", option.name)
      let fallback = option.fallback.map { $0.isNull ? "unset" : $0.text } ?? "unset"
      Terminal.writeLine(
        "  \(option.name) = \(value?.text ?? "\(fallback)  (the model's own may differ)")")
    }
  }

  /// Takes `key=value` over if the library accepts a request with it, else says why not.
  private static func change(
    _ text: String, _ model: borrowing Model, _ conversation: inout Conversation,
    _ table: OptionTable
  ) {
    let parts = text.split(separator: "=", maxSplits: 1).map { String($0).trimmed }
    guard parts.count == 2 else { return Terminal.writeLine("Write it as :set key=value.") }
    let name = parts[0].replacing("-", with: "_")
    let generating = table.options.filter { $0.section == "generate" }
    guard let option = generating.first(where: { $0.name == name }) else {
      let hint = nearest(name, in: generating.map(\.name)).map { " Did you mean \($0)?" } ?? ""
      return Terminal.writeLine("There is no setting \(name).\(hint) :settings lists them.")
    }
    var trial = conversation
    trial.settings.remove("generate", name)
    trial.settings.set(option, typed: parts[1])
    // Rendering reads the whole request and evaluates nothing.
    var count = 0
    let status = qwen_render(model.handle, trial.request(asking: "?").text, nil, 0, &count, nil)
    if status != qwen_status(QWEN_OK) {
      return Terminal.writeLine("Refused: \(Failure.library(status).message)")
    }
    conversation = trial
    Terminal.writeLine("\(name) = \(trial.settings.value("generate", name)?.text ?? "")")
  }
}
