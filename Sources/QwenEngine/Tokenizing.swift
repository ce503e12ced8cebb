package import QwenFormats
internal import QwenText

extension OptionTable {
  /// Options of `qwen_tokenize`.
  package static let tokenize = OptionTable(
    section: "tokenize",
    options: [
      Option(
        "special", .wordOrStrings(["none", "all"]), default: "none",
        "Control tokens that are recognised in the text."),
      Option(
        "disallow", .wordOrStrings(["none", "all"]), default: "none",
        "Control tokens whose text is an error."),
    ])

  /// Options of `qwen_detokenize`.
  package static let detokenize = OptionTable(
    section: "detokenize",
    options: [
      Option("skip_special", .bool, default: false, "Leaves control tokens out."),
      Option(
        "errors", .word(["replace", "ignore", "bytes"]), default: "replace",
        "What becomes of bytes that are not UTF-8: U+FFFD, nothing, or the bytes themselves."),
    ])
}

extension Model {
  /// Ids of a text, which must be UTF-8, under checked options of `OptionTable.tokenize`.
  package func tokenize(_ text: [UInt8], options: JSONObject) throws(EngineError) -> [Int32] {
    do {
      return try tokenizer.encode(
        text, special: Model.policy(options["special"]),
        disallowed: Model.policy(options["disallow"]))
    } catch { throw EngineError(error) }
  }

  /// Text of ids under checked options of `OptionTable.detokenize`.
  package func detokenize(_ ids: [Int32], options: JSONObject) throws(EngineError) -> [UInt8] {
    if let bad = ids.first(where: {
      $0 < 0 || Int($0) >= max(tokenizer.count, configuration.vocabularyRows)
    }) {
      throw EngineError(.argument, "token \(bad) is outside the vocabulary")
    }
    let skip = options["skip_special"]?.bool ?? false
    let bytes = tokenizer.decode(ids, skipSpecial: skip)
    switch options["errors"]?.string {
    case "bytes": return bytes
    case "ignore":
      let text = String(decoding: bytes, as: UTF8.self)
      return String(validating: bytes, as: UTF8.self) == nil
        ? Array(
          text.unicodeScalars.filter { $0 != "\u{FFFD}" }.reduce(into: "") {
            $0.unicodeScalars.append($1)
          }.utf8)
        : bytes
    default: return Array(String(decoding: bytes, as: UTF8.self).utf8)
    }
  }

  private static func policy(_ value: JSONValue?) -> Tokenizer.SpecialPolicy {
    switch value {
    case .string("all")?: .all
    case .array(let texts)?: .only(texts.compactMap(\.string))
    default: .none
    }
  }
}
