import CQwen
import Glibc

/// The interactive conversation: reads a line, answers it or obeys it, until `:quit` or Ctrl-D.
enum ChatLoop {
  static func run(
    _ model: borrowing Model, _ session: borrowing Session, _ conversation: inout Conversation,
    _ invocation: Invocation
  ) throws(Failure) {
    Interrupt.install(for: session.handle)
    defer { Interrupt.remove() }
    Terminal.writeLine("Ready. :help lists the commands, Ctrl-C stops an answer, Ctrl-D leaves.")
    var reader = LineReader()
    while let message = nextMessage(&reader) {
      if message.hasPrefix(":") {
        if try !obey(message, model, session, &conversation, invocation) { return }
      } else if !message.isEmpty {
        answer(message, session, &conversation, showsStatistics: invocation.has("stats"))
      }
    }
    Terminal.write("\n")
  }

  /// One message, trimmed; a line that ends with a backslash goes on in the next. Nil at the end.
  private static func nextMessage(_ reader: inout LineReader) -> String? {
    var message = ""
    Terminal.write(mark("you> "))
    while true {
      Interrupt.clear()
      switch reader.next() {
      case .end: return nil
      case .interrupted:
        message = ""
        Terminal.write("\n(:quit or Ctrl-D leaves)\n" + mark("you> "))
      case .text(let line):
        guard line.hasSuffix("\\") else { return (message + line).trimmed }
        message += line.dropLast() + "\n"
        Terminal.write(mark("...> "))
      }
    }
  }

  /// Streams the answer. One that was stopped or failed leaves the conversation as it was.
  private static func answer(
    _ message: String, _ session: borrowing Session, _ conversation: inout Conversation,
    showsStatistics: Bool
  ) {
    Interrupt.clear()
    let printer = Printer(isStreaming: true)
    Terminal.write(mark("qwen> "))
    do throws(Failure) {
      let result = try session.chat(conversation.request(asking: message), printer: printer)
      Terminal.write(printer.endsWithLineFeed && printer.hasWritten ? "" : "\n")
      if Interrupt.isPending || result["finish_reason"]?.string == "cancelled" {
        return Terminal.writeLine("(stopped; this turn is forgotten)")
      }
      showCalls(result)
      conversation.add(
        message, result["message"]?["content"]?.string ?? result["text"]?.string ?? "")
      if showsStatistics { Terminal.writeError(statistics(result) + "\n") }
    } catch {
      Terminal.write("\n")
      if error.status == qwen_status(QWEN_ERROR_CANCELLED) {
        return Terminal.writeLine("(stopped; this turn is forgotten)")
      }
      Terminal.writeError("qwen: \(error.message)\n")
      if error.status == qwen_status(QWEN_ERROR_CONTEXT) {
        Terminal.writeError(":clear-history starts a new conversation.\n")
      }
    }
  }

  /// A prompt, set apart where the terminal can.
  private static func mark(_ text: String) -> String {
    Terminal.outputIsTerminal && getenv("NO_COLOR") == nil ? "\u{1B}[1m\(text)\u{1B}[0m" : text
  }
}
