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
      Option("tools", "FILE", "Tools that the model may call: a JSON list, as in a request."),
      Option("json", nil, "One question only: write the whole result as JSON."),
      Option("stats", nil, "Write tokens and speed to standard error after each answer."),
    ],
    sections: ["open", "session", "generate", "chat"]
  ) { invocation throws(Failure) in
    var message: String?
    if invocation.operands.count > 1, strcmp(invocation.operands[1], "-") != 0 {
      message = try messageText(bytes(of: invocation.operands[1]))
    } else if invocation.operands.count > 1 || !Terminal.inputIsTerminal {
      message = try messageText(try readAll("-"))
    }
    var conversation = try Conversation(invocation)
    let model = try Model(path: invocation.operands[0], options: invocation.given["open"])
    let session = try Session(model: model, options: invocation.given["session"])
    guard let message else {
      return try ChatLoop.run(model, session, &conversation, invocation)
    }
    let printer = Printer(isStreaming: !invocation.has("json"))
    let result = try session.chat(conversation.request(asking: message), printer: printer)
    finish(result, printer: printer, invocation: invocation)
    if !invocation.has("json") { showCalls(result) }
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

/// Writes the calls of an answer, one a line.
func showCalls(_ result: JSON) {
  for call in result["tool_calls"]?.array ?? [] {
    let arguments = call["arguments_text"]?.string ?? ""
    Terminal.writeLine("call \(call["name"]?.string ?? ""): \(arguments)")
  }
}

/// What was said so far, and how the next answer shall be made.
struct Conversation {
  var system: String?
  private(set) var turns: [(question: String, answer: String)] = []
  /// Tools of every request.
  private let tools: JSON?
  /// Options of sections "generate" and "chat".
  var settings: GivenOptions
  /// The settings the command line asked for.
  let initialSettings: GivenOptions

  init(_ invocation: Invocation) throws(Failure) {
    tools = try invocation.value("tools").map { (path: String) throws(Failure) -> JSON in
      guard let text = String(validating: try readAll(path), as: UTF8.self),
        let tools = JSON(parsing: text)
      else { throw .general("\(path) is not JSON") }
      return tools
    }
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
    var members = [("messages", JSON.array(messages))]
    if let tools { members.append(("tools", tools)) }
    return .object(members + settings.list("generate") + settings.list("chat"))
  }
}
