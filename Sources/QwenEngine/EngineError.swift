package import QwenFormats
package import QwenTensor
package import QwenText

/// Why a request could not be served; the C boundary turns the kind into a status.
package struct EngineError: Error, Equatable, Sendable {
  /// The class of the failure, as the header's statuses.
  package enum Kind: Sendable, CaseIterable {
    case argument, memory, io, format, unsupported, limit, context, cancelled, busy, numeric
    case option, deadline, `internal`
  }

  package var kind: Kind
  /// Where and what, without the hint.
  package var message: String
  /// The option or request key that is wrong.
  package var key: String?
  package var path: String?
  package var offset: Int?
  /// What to do.
  package var hint: String?

  package init(_ kind: Kind, _ message: String, key: String? = nil, hint: String? = nil) {
    self.kind = kind
    self.message = message
    self.key = key
    self.hint = hint
  }

  /// The whole as one sentence.
  package var sentence: String {
    var text = ""
    if let path { text += "\(escapedPath(path)): " }
    text += message
    if let offset { text += " (at byte \(offset))" }
    if let hint { text += "; \(hint)" }
    return text
  }
}

extension EngineError {
  package init(_ error: FormatError) {
    let kind: Kind =
      switch error.kind {
      case .io, .missing: .io
      case .malformed: .format
      case .unsupported: .unsupported
      case .limit: .limit
      case .memory: .memory
      case .cancelled: .cancelled
      }
    self.init(kind, error.message, hint: error.hint)
    path = error.path.isEmpty ? nil : error.path
    offset = error.offset
  }

  package init(_ error: TensorError) {
    switch error {
    case .memory(let count):
      self.init(
        .memory, "there is no memory for \(count) bytes",
        hint: "use a shorter context, a smaller model or fewer sessions")
    case .shape(let text): self.init(.internal, text)
    case .cancelled: self.init(.cancelled, "the run was cancelled")
    case .deadline: self.init(.deadline, "the deadline passed")
    }
  }

  package init(_ error: TokenizerError) {
    let kind: Kind =
      switch error {
      case .invalidUTF8, .disallowedSpecial: .argument
      case .textTooLong: .limit
      case .badLine, .badVocabulary: .format
      case .unknownPreTokenizer, .unsupported: .unsupported
      }
    self.init(kind, error.message)
  }
}
