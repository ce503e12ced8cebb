import CQwen
import Glibc

extension Subcommand {
  static let chat = Subcommand(
    name: "chat", operands: "MODEL [MESSAGE]", summary: "Talks with a model.",
    operandCount: 1...2,
    details: """
      With MESSAGE, or with standard input that is not a terminal: one question, one answer. Otherwise
      a conversation; :help lists its commands, Ctrl-C stops an answer, Ctrl-D leaves.
      The random generator starts at seed 1234 for each answer unless --seed says otherwise.
      """,
    options: [
      Option("system", "TEXT", "What the model is told before the conversation."),
      Option("json", nil, "One question only: write the whole result as JSON."),
      Option("stats", nil, "Write tokens and speed to standard error after each answer."),
    ],
    sections: ["open", "session", "generate"]
  ) { invocation throws(Failure) in
    var message: String?
    if invocation.operands.count > 1, strcmp(invocation.operands[1], "-") != 0 {
      message = try messageText(bytes(of: invocation.operands[1]))
    } else if invocation.operands.count > 1 || !Terminal.inputIsTerminal {
      message = try messageText(try readAll("-"))
    }
    var conversation = Conversation(invocation)
    let model = try Model(path: invocation.operands[0], options: invocation.given["open"])
    let session = try Session(model: model, options: invocation.given["session"])
    guard let message else {
      return try ChatLoop.run(model, session, &conversation, invocation)
    }
    let printer = Printer(isStreaming: !invocation.has("json"))
    let result = try session.chat(conversation.request(asking: message), printer: printer)
    finish(result, printer: printer, invocation: invocation)
  }
}

private func messageText(_ bytes: [UInt8]) throws(Failure) -> String {
  guard let text = String(validating: bytes, as: UTF8.self) else {
    throw .general("the message is not UTF-8")
  }
  let message = text.trimmed
  if message.isEmpty { throw .usage("the message is empty") }
  return message
}

/// What was said so far, and how the next answer shall be made.
struct Conversation {
  var system: String?
  private(set) var turns: [(question: String, answer: String)] = []
  /// Options of section "generate".
  var settings: GivenOptions
  /// The settings the command line asked for.
  let initialSettings: GivenOptions

  init(_ invocation: Invocation) {
    system = invocation.value("system")
    var settings = invocation.given
    if settings.value("generate", "seed") == nil {
      settings.set("generate", "seed", to: .number(1234))
    }
    self.settings = settings
    initialSettings = settings
  }

  mutating func add(_ question: String, _ answer: String) { turns.append((question, answer)) }

  mutating func forget() { turns = [] }

  /// The request for `qwen_chat`: all that was said, the question, the settings.
  func request(asking question: String) -> JSON {
    var messages: [JSON] = []
    func add(_ role: String, _ content: String) {
      messages.append(.object([("role", .string(role)), ("content", .string(content))]))
    }
    if let system { add("system", system) }
    for turn in turns {
      add("user", turn.question)
      add("assistant", turn.answer)
    }
    add("user", question)
    return .object([("messages", .array(messages))] + settings.list("generate"))
  }
}
