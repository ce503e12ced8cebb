/// One subcommand: what it is called, what it takes, what it does.
struct Subcommand: Sendable {
  /// An option of the command itself; those of the library come from its own table.
  struct Option: Sendable {
    let name: String
    /// What the help shows for the value; nil for a plain switch.
    let placeholder: String?
    let sentence: String

    init(_ name: String, _ placeholder: String? = nil, _ sentence: String) {
      (self.name, self.placeholder, self.sentence) = (name, placeholder, sentence)
    }
  }

  let name: String
  let operands: String
  let summary: String
  /// Allowed number of operands.
  let operandCount: ClosedRange<Int>
  /// Sentences below the usage line.
  var details = ""
  var options: [Option] = []
  /// Sections of the library's option table that this subcommand passes on.
  var sections: [String] = []
  let run: @Sendable (Invocation) throws(Failure) -> Void

  static let all: [Subcommand] = [
    .chat, .generate, .tokenize, .info, .perplexity, .bench, .quantize, .quality, .describe,
  ]

  /// Usage, operands and every option with its default.
  func help(_ table: OptionTable) -> String {
    var text =
      "usage: qwen \(name) \(operands)\(hasOptions(table) ? " [options]" : "")\n\n\(summary)\n"
    if !details.isEmpty { text += "\n\(details)\n" }
    var rows = options.map { option in
      ("--\(option.name)" + (option.placeholder.map { " " + $0 } ?? ""), option.sentence)
    }
    if !rows.isEmpty { text += "\n" + Subcommand.layOut(rows) }
    for section in sections {
      let taken = Set(options.map { $0.name.replacing("-", with: "_") })
      rows = table.options.filter { $0.section == section && !taken.contains($0.name) }
        .map { ("\($0.flag) \($0.placeholder)", $0.help) }
      if rows.isEmpty { continue }
      text += "\n\(Subcommand.titles[section] ?? section):\n" + Subcommand.layOut(rows)
    }
    return text
  }

  private func hasOptions(_ table: OptionTable) -> Bool {
    !options.isEmpty || !table.options.isEmpty
  }

  private static let titles = [
    "open": "Loading", "session": "Memory of the conversation", "generate": "Answering",
    "convert": "Writing",
  ]

  /// Two columns; a long left side gets a line of its own.
  static func layOut(_ rows: [(String, String)]) -> String {
    let width = 30
    return rows.map { left, right in
      left.count < width - 2
        ? "  \(left.padded(width - 2))\(right)\n"
        : "  \(left)\n\(String(repeating: " ", count: width))\(right)\n"
    }.joined()
  }
}
