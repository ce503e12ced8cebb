import CQwen

extension Subcommand {
  static let info = Subcommand(
    name: "info", operands: "MODEL", summary: "Tells what a model is and what it needs.",
    operandCount: 1...1,
    options: [
      Option("json", nil, "Write the facts as JSON."),
      Option("plan", nil, "Tell what it would take in memory, without loading it."),
    ], sections: ["open", "session", "plan"]
  ) { invocation throws(Failure) in
    if invocation.has("plan") { return try writePlan(invocation) }
    let model = try Model(path: invocation.operands[0], options: invocation.given["open"])
    let text = try model.info()
    if invocation.has("json") { return Terminal.writeLine(text) }
    var lines = ""
    writeFacts(try readAnswer(text), indent: 0, into: &lines)
    Terminal.write(lines)
  }

  /// The plan of memory, as JSON or as text.
  private static func writePlan(_ invocation: Invocation) throws(Failure) {
    var options: [(key: String, value: JSON)] = []
    for section in ["open", "session", "plan"] {
      for option in invocation.given.list(section)
      where !options.contains(where: { $0.key == option.key }) { options.append(option) }
    }
    let settings = JSON.object(options).text
    let text = try takeText { qwen_model_plan(invocation.operands[0], settings, $0) }
    if invocation.has("json") { return Terminal.writeLine(text) }
    Terminal.write(planText(try readAnswer(text)))
  }

  static let describe = Subcommand(
    name: "describe", operands: "[WHAT]", summary: "Tells what this build can do.",
    operandCount: 0...1,
    details: "WHAT is build, cpu, formats, models, options or errors; without it: build. JSON."
  ) { invocation throws(Failure) in
    let what = invocation.operands.first.map { String(cString: $0) } ?? "build"
    let text = try takeText { qwen_describe(what, $0) }
    Terminal.writeLine(try readAnswer(text).prettyText)
  }
}

/// Appends one line a fact: name, colon, value; members of an object below it, indented.
private func writeFacts(_ value: JSON, indent: Int, into lines: inout String) {
  guard case .object(let members) = value else { return }
  let margin = String(repeating: "  ", count: indent)
  let width = (members.map { $0.key.count }.max() ?? 0) + 2
  for (key, value) in members {
    let name = key.replacing("_", with: " ")
    if key == "parts", let parts = value.array {
      lines += "\(margin)\(name):\n" + parts.map { "\(margin)  \(part($0))\n" }.joined()
    } else if case .object(let inner) = value, !inner.isEmpty {
      lines += "\(margin)\(name):\n"
      writeFacts(value, indent: indent + 1, into: &lines)
    } else {
      lines += "\(margin)\((name + ":").padded(width))\(fact(key, value))\n"
    }
  }
}

/// What one part of a model is held in: "layers  NF4  224 matrices  3.4 GiB".
private func part(_ value: JSON) -> String {
  let bytes = value["bytes"]?.double ?? 0
  let mapped = value["mapped_bytes"]?.double ?? 0
  let place = mapped == 0 ? "" : mapped < bytes ? ", \(readableSize(mapped)) mapped" : ", mapped"
  let matrices = value["matrices"]?.int ?? 0
  let count = "\(matrices) \(matrices == 1 ? "matrix" : "matrices")".padded(15)
  return (value["part"]?.string ?? "").padded(12) + (value["format"]?.string ?? "").padded(12)
    + count + readableSize(bytes) + place
}

/// Sizes in bytes get a readable size beside them; text comes without quotes.
private func fact(_ key: String, _ value: JSON) -> String {
  if let text = value.string { return text }
  if key.contains("bytes"), let count = value.double, count >= 1024 {
    return "\(value.text) (\(readableSize(count)))"
  }
  return value.text
}

/// `count` bytes in the largest binary unit below it.
func readableSize(_ count: Double) -> String {
  var (value, unit) = (count, 0)
  let units = ["B", "KiB", "MiB", "GiB", "TiB"]
  while value >= 1024 && unit < units.count - 1 { (value, unit) = (value / 1024, unit + 1) }
  return "\(decimal(value, unit == 0 ? 0 : 1)) \(units[unit])"
}
