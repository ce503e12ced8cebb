/// Tokens to text as they come: whole characters only, a started one is held back.
///
/// The pieces joined are the text of all the tokens, however it was cut into tokens.
package struct StreamingDecoder: Sendable {
  private let tokenizer: Tokenizer
  private let skipSpecial: Bool
  /// At most 3 bytes between pushes: the beginning of a character.
  private var pending: [UInt8] = []

  /// With `skipSpecial` control tokens give no text; `<think>` and its like still do.
  package init(tokenizer: Tokenizer, skipSpecial: Bool) {
    self.tokenizer = tokenizer
    self.skipSpecial = skipSpecial
  }

  /// Whether the beginning of a character is held back.
  package var isHolding: Bool { !pending.isEmpty }

  /// The characters this token completes; "" if none. An id without text gives nothing.
  package mutating func push(_ id: Int32) -> String {
    tokenizer.appendBytes(of: id, skipSpecial: skipSpecial, to: &pending)
    return take(isLast: false)
  }

  /// What is left, an unfinished character as one U+FFFD; the decoder is then as new.
  package mutating func finish() -> String { take(isLast: true) }

  private mutating func take(isLast: Bool) -> String {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(pending.count)
    var index = 0
    // A copy of the array, not of its storage: the span must not hold on to `self`.
    let held = pending
    let span = held.span
    scan: while index < span.count {
      switch UTF8Text.unit(span, index) {
      case .whole(let width):
        for offset in 0..<width { bytes.append(span[index + offset]) }
        index += width
      case .broken(let width):
        bytes.append(contentsOf: [0xEF, 0xBF, 0xBD])
        index += width
      case .incomplete(let width):
        if !isLast { break scan }
        bytes.append(contentsOf: [0xEF, 0xBF, 0xBD])
        index += width
      }
    }
    pending.removeFirst(index)
    return String(decoding: bytes, as: UTF8.self)
  }
}
