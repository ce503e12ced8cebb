import CQwen
import Glibc

/// A subcommand with its operands and options, read from the command line.
struct Invocation {
  let subcommand: Subcommand
  let table: OptionTable
  /// Operands as the operating system gave them: a path need not be UTF-8.
  private(set) var operands: [UnsafePointer<CChar>] = []
  /// Options for the library.
  private(set) var given = GivenOptions()
  private(set) var wantsHelp = false
  private var own: [String: String] = [:]

  /// Reads `arguments`, which follow the subcommand's name.
  init(_ subcommand: Subcommand, arguments: ArraySlice<UnsafePointer<CChar>>) throws(Failure) {
    self.subcommand = subcommand
    table = try OptionTable(sections: subcommand.sections)
    var rest = arguments
    while let argument = rest.popFirst() {
      let text = String(cString: argument)
      if text == "--" {
        operands.append(contentsOf: rest)
        break
      } else if text == "--help" || text == "-h" {
        wantsHelp = true
      } else if text.hasPrefix("-") && text != "-" {
        try readOption(text, rest: &rest)
      } else {
        operands.append(argument)
      }
    }
    if !wantsHelp { try checkOperands() }
  }

  /// The value of one of the subcommand's own options; "" for a switch that was given.
  func value(_ name: String) -> String? { own[name] }

  func has(_ name: String) -> Bool { own[name] != nil }

  /// The value of an own option as an integer of at least `minimum`.
  func integer(_ name: String, default fallback: Int, minimum: Int) throws(Failure) -> Int {
    guard let text = own[name] else { return fallback }
    guard let value = Int(text), value >= minimum else {
      throw .usage("--\(name) \(text): expected a whole number of at least \(minimum)")
    }
    return value
  }

  private mutating func readOption(
    _ text: String, rest: inout ArraySlice<UnsafePointer<CChar>>
  ) throws(Failure) {
    let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    let flag = String(parts[0])
    let inline = parts.count > 1 ? String(parts[1]) : nil
    let name = flag.hasPrefix("--") ? String(flag.dropFirst(2)) : ""

    if let option = subcommand.options.first(where: { $0.name == name }) {
      if option.placeholder == nil {
        if inline != nil { throw .usage("\(flag) takes no value") }
        own[name] = ""
      } else {
        own[name] = try takeValue(flag, inline, &rest)
      }
      return
    }
    let matches = table.named(name.replacing("-", with: "_"))
    guard let option = matches.first else { throw unknown(flag) }
    let typed: String
    if let inline {
      typed = inline
    } else if option.isFlag {
      // `--do-sample` alone means true; a following true or false belongs to it.
      let next = rest.first.map { String(cString: $0) }
      typed = next == "true" || next == "false" ? (next ?? "") : "true"
      if next == typed { rest.removeFirst() }
    } else {
      typed = try takeValue(flag, nil, &rest)
    }
    for match in matches { given.set(match, typed: typed) }
  }

  private func takeValue(
    _ flag: String, _ inline: String?, _ rest: inout ArraySlice<UnsafePointer<CChar>>
  ) throws(Failure) -> String {
    if let inline { return inline }
    guard let next = rest.popFirst() else { throw .usage("\(flag) needs a value") }
    return String(cString: next)
  }

  private func unknown(_ flag: String) -> Failure {
    let known = subcommand.options.map { "--" + $0.name } + table.options.map(\.flag) + ["--help"]
    let hint = nearest(flag, in: known).map { "; did you mean \($0)?" } ?? ""
    return .usage("unknown option \(flag)\(hint) (qwen \(subcommand.name) --help lists them)")
  }

  private func checkOperands() throws(Failure) {
    if subcommand.operandCount.contains(operands.count) { return }
    let what = operands.count < subcommand.operandCount.lowerBound ? "too few" : "too many"
    throw .usage("\(what) operands; usage: qwen \(subcommand.name) \(subcommand.operands)")
  }
}

/// Runs the process' command line and returns its exit code.
func runCommandLine() -> Int32 {
  let arguments = UnsafeBufferPointer(
    start: CommandLine.unsafeArgv, count: Int(CommandLine.argc)
  ).compactMap { $0.map { UnsafePointer($0) } }
  do throws(Failure) {
    try dispatch(arguments.dropFirst())
    return 0
  } catch {
    Terminal.writeError("qwen: \(error.message)\n")
    return error.code
  }
}

private func dispatch(_ arguments: ArraySlice<UnsafePointer<CChar>>) throws(Failure) {
  var rest = arguments
  guard let first = rest.popFirst() else {
    Terminal.writeError(overview())
    throw .usage("name a command")
  }
  let name = String(cString: first)
  switch name {
  case "--version", "-v", "version":
    Terminal.writeLine("qwen \(String(cString: qwen_version())) (interface \(qwen_abi_version()))")
  case "--help", "-h", "help":
    guard let topic = rest.first else { return Terminal.write(overview()) }
    try showHelp(try subcommand(String(cString: topic)))
  default:
    let command = try subcommand(name)
    let invocation = try Invocation(command, arguments: rest)
    if invocation.wantsHelp { return Terminal.write(command.help(invocation.table)) }
    try command.run(invocation)
  }
}

private func showHelp(_ command: Subcommand) throws(Failure) {
  Terminal.write(command.help(try OptionTable(sections: command.sections)))
}

private func subcommand(_ name: String) throws(Failure) -> Subcommand {
  if let match = Subcommand.all.first(where: { $0.name == name }) { return match }
  let hint = nearest(name, in: Subcommand.all.map(\.name)).map { "; did you mean \($0)?" } ?? ""
  throw .usage("unknown command \(name)\(hint) (qwen --help lists them)")
}

private func overview() -> String {
  let rows = Subcommand.all.map { ("\($0.name) \($0.operands)", $0.summary) }
  return """
    usage: qwen COMMAND ...

    Runs Qwen language models on this computer. MODEL is a folder with config.json, weights and
    tokenizer as downloaded, or one .gguf file.

    \(Subcommand.layOut(rows))
    qwen COMMAND --help lists a command's options; qwen --version tells the version.

    """
}
