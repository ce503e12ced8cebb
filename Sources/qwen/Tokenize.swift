import CQwen
import Glibc

extension Subcommand {
  static let tokenize = Subcommand(
    name: "tokenize", operands: "MODEL [TEXT]", summary: "Shows the tokens of a text.",
    operandCount: 1...2,
    details: """
      One token a line: its id and its bytes as a JSON string; bytes that are not UTF-8 by themselves
      as \\xNN. Without TEXT, or with "-", standard input is read. Only the vocabulary is loaded.
      """,
    options: [
      Option("ids", nil, "Write only the ids, on one line."),
      Option("special", nil, "Recognise control tokens such as <|im_start|> in the text."),
    ]
  ) { invocation throws(Failure) in
    let text: [UInt8]
    if invocation.operands.count > 1, strcmp(invocation.operands[1], "-") != 0 {
      text = bytes(of: invocation.operands[1])
    } else {
      text = try readAll("-")
    }
    let model = try Model(
      path: invocation.operands[0], options: .object([("load", .string("vocabulary"))]))
    let ids = try model.tokenize(text, special: invocation.has("special") ? "all" : "none")
    if invocation.has("ids") {
      return Terminal.writeLine(ids.map { String($0) }.joined(separator: " "))
    }
    var lines = ""
    for id in ids { lines += "\(String(id).padded(7)) \(spell(try model.bytes(of: id)))\n" }
    Terminal.write(lines)
  }
}

/// The bytes of a token as a person can read them.
func spell(_ bytes: [UInt8]) -> String {
  if let text = String(validating: bytes, as: UTF8.self) { return JSON.quoted(text) }
  return bytes.map { byte in
    if (0x21..<0x7F).contains(byte) { return String(Unicode.Scalar(byte)) }
    let hex = String(byte, radix: 16, uppercase: true)
    return "\\x" + (hex.utf8.count == 1 ? "0" : "") + hex
  }.joined()
}
