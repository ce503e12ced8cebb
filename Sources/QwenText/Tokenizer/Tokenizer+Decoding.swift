extension Tokenizer {
  /// The bytes of the tokens, one after the other; they need not be UTF-8.
  ///
  /// With `skipSpecial` control tokens are left out. Ids without text give nothing.
  package func decode(_ ids: [Int32], skipSpecial: Bool = false) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(ids.count &* 4)
    for id in ids { appendBytes(of: id, skipSpecial: skipSpecial, to: &bytes) }
    return bytes
  }

  /// The text of the tokens, each maximal ill-formed part replaced by U+FFFD.
  package func text(_ ids: [Int32], skipSpecial: Bool = false) -> String {
    var decoder = StreamingDecoder(tokenizer: self, skipSpecial: skipSpecial)
    var text = ""
    for id in ids { text += decoder.push(id) }
    return text + decoder.finish()
  }

  /// Appends the bytes of one token; nothing for an id without text.
  func appendBytes(of id: Int32, skipSpecial: Bool, to bytes: inout [UInt8]) {
    guard hasText(id), !(skipSpecial && isControl(id)) else { return }
    let (start, end) = tokens.bounds(id)
    bytes.append(contentsOf: tokens.blob[start..<end])
  }
}
