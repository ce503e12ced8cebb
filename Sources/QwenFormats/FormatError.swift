/// What went wrong with a file: where, what, and what to do about it.
package struct FormatError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The class of a failure; the C boundary turns it into a status.
  package enum Kind: Sendable, CaseIterable {
    /// The operating system refused a file operation.
    case io
    /// The file breaks its format.
    case malformed
    /// A valid file that this build can't serve.
    case unsupported
    /// A documented limit is exceeded.
    case limit
    /// Not enough memory.
    case memory
    /// There is no such file, or a file that others need is not there.
    case missing
    /// The caller's progress hook stopped the load.
    case cancelled
  }

  /// The class of the failure.
  package var kind: Kind
  /// The file as it was opened; raw, `sentence` shows it escaped.
  package var path: String
  /// The byte of the file at which the failure was seen, where that makes sense.
  package var offset: Int?
  /// Where in the file and what; strings from the file are escaped and cut.
  package var message: String
  /// What to do.
  package var hint: String?

  package init(
    _ kind: Kind, path: String, offset: Int? = nil, _ message: String, hint: String? = nil
  ) {
    self.kind = kind
    self.path = path
    self.offset = offset
    self.message = message
    self.hint = hint
  }

  /// The whole as one sentence: `path: message (byte 17); hint`.
  package var sentence: String {
    var text = path.isEmpty ? "" : "\(escapedPath(path)): "
    text += message
    if let offset { text += " (at byte \(offset))" }
    if let hint { text += "; \(hint)" }
    return text
  }

  package var description: String { sentence }
}
