/// What can go wrong between text and token ids, or while a vocabulary is read.
package enum TokenizerError: Error, Equatable, Sendable {
  /// The text is not UTF-8; `offset` is the first byte of the ill-formed part.
  case invalidUTF8(offset: Int)
  /// A control text that the caller forbade; `offset` in bytes of the normalised text.
  case disallowedSpecial(text: String, offset: Int)
  /// More text than one call takes.
  case textTooLong(byteCount: Int, limit: Int)
  /// A line of a text file (`qwen.tiktoken`, `merges.txt`) breaks its format; lines count from 1.
  case badLine(file: String, line: Int, reason: String)
  /// A vocabulary that contradicts itself.
  case badVocabulary(file: String, reason: String)
  /// A way of splitting text that this build does not know.
  case unknownPreTokenizer(name: String)
  /// A valid tokenizer feature that this build cannot serve.
  case unsupported(file: String, feature: String)

  /// One sentence: where, what, what to do.
  package var message: String {
    switch self {
    case .invalidUTF8(let offset):
      "text: byte \(offset) is not UTF-8; pass text encoded as UTF-8"
    case .disallowedSpecial(let text, let offset):
      "text: contains the control text \"\(text)\" at byte \(offset); "
        + "remove it, or allow it with \"special\""
    case .textTooLong(let byteCount, let limit):
      "text: \(byteCount) bytes are more than \(limit); pass it in parts"
    case .badLine(let file, let line, let reason):
      "\(file): line \(line): \(reason); the file is damaged, download it again"
    case .badVocabulary(let file, let reason):
      "\(file): \(reason); the file is damaged or belongs to another model, download it again"
    case .unknownPreTokenizer(let name):
      "tokenizer: pre-tokenizer \"\(name)\" is not known; this build knows "
        + Splitter.knownNames.joined(separator: ", ")
    case .unsupported(let file, let feature):
      "\(file): \(feature) is not supported; use a tokenizer of the Qwen or SmolLM families"
    }
  }
}
