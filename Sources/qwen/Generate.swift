import CQwen
import Glibc

extension Subcommand {
  static let generate = Subcommand(
    name: "generate", operands: "MODEL PROMPT", summary: "Continues a text.", operandCount: 2...2,
    details: "The answer is written as it comes. PROMPT \"-\" reads standard input.",
    options: [
      Option("json", nil, "Write the whole result as JSON instead of the text."),
      Option("stats", nil, "Write tokens and speed to standard error at the end."),
    ],
    sections: ["open", "session", "generate"]
  ) { invocation throws(Failure) in
    let argument = invocation.operands[1]
    let prompt = strcmp(argument, "-") == 0 ? try readAll(argument) : bytes(of: argument)
    let model = try Model(path: invocation.operands[0], options: invocation.given["open"])
    let session = try Session(model: model, options: invocation.given["session"])
    let printer = Printer(isStreaming: !invocation.has("json"))
    let result = try session.generate(
      prompt, options: invocation.given["generate"], printer: printer)
    finish(result, printer: printer, invocation: invocation)
  }
}

/// The bytes of an argument without its NUL.
func bytes(of argument: UnsafePointer<CChar>) -> [UInt8] {
  Array(UnsafeRawBufferPointer(start: argument, count: strlen(argument)))
}

/// Ends the output of one run: line feed, result or statistics, as asked for.
func finish(_ result: JSON, printer: Printer, invocation: Invocation) {
  if invocation.has("json") {
    Terminal.writeLine(result.text)
  } else if !printer.endsWithLineFeed {
    Terminal.write("\n")
  }
  if invocation.has("stats") { Terminal.writeError(statistics(result) + "\n") }
}

/// One line on how much was read and said, and how fast.
func statistics(_ result: JSON) -> String {
  func count(_ key: String) -> String { result["usage"]?[key]?.int.map(String.init) ?? "?" }
  func rate(_ key: String) -> String {
    result["timings"]?[key]?.double.map { decimal($0, 1) } ?? "?"
  }
  return "read \(count("prompt_tokens")) tokens (\(count("cached_tokens")) from cache) at "
    + "\(rate("prefill_tokens_per_second"))/s, said \(count("completion_tokens")) at "
    + "\(rate("decode_tokens_per_second"))/s, ended by \(result["finish_reason"]?.string ?? "?")"
}
