extension Tokenizer {
  /// Which special texts a `.tiktoken` vocabulary gets; the file itself names none.
  package enum TiktokenSpecials: Sendable, Equatable {
    /// `<|endoftext|>`, `<|im_start|>`, `<|im_end|>`, `<|extra_0|>` to `<|extra_204|>`.
    case standard
    /// The names of the launch day: `<R> <S> <X> <mask> <sep>`, `<extra_0>` to `<extra_199>`.
    case launch

    var names: [String] {
      let first = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
      switch self {
      case .standard: return first + (0..<205).map { "<|extra_\($0)|>" }
      case .launch:
        return first + ["<R>", "<S>", "<X>", "<mask>", "<sep>"]
          + (0..<200).map { "<extra_\($0)>" }
      }
    }
  }

  /// Reads a `.tiktoken` file: a line of base64 bytes and rank for each token; special ids follow the last.
  package static func tiktoken(
    _ file: Span<UInt8>, name: String, specials: TiktokenSpecials = .standard
  ) throws(TokenizerError) -> Tokenizer {
    var builder = VocabularyBuilder(file: name)
    builder.tokens.reserve(tokens: file.count / 16, bytes: file.count / 2)
    var index = 0
    var line = 0
    while index < file.count {
      line += 1
      var end = index
      while end < file.count, file[end] != 0x0A { end += 1 }
      try readLine(file, index, end, number: line, into: &builder)
      index = end + 1
    }
    let count = builder.tokens.count
    guard count > 0 else { throw builder.bad("has no tokens") }
    for id in 0..<count where builder.tokens.kinds[id] == .unused {
      throw builder.bad("rank \(id) is missing")
    }
    try builder.indexTokens()
    try builder.addRankMerges()
    for (offset, text) in specials.names.enumerated() {
      try builder.addSpecial(text, id: count + offset, isControl: true)
    }
    return try builder.finish(
      kindName: "tiktoken/qwen", splitter: .qwen, normalizer: .wholeText, isWhole: true,
      eosID: Int32(truncatingIfNeeded: count))
  }

  private static func readLine(
    _ file: Span<UInt8>, _ start: Int, _ end: Int, number: Int,
    into builder: inout VocabularyBuilder
  ) throws(TokenizerError) {
    var end = end
    if end > start, file[end - 1] == 0x0D { end -= 1 }
    guard end > start else { return }
    func bad(_ reason: String) -> TokenizerError {
      .badLine(file: builder.file, line: number, reason: reason)
    }
    let first = builder.tokens.blob.count
    var (bits, count, index) = (0, 0, start)
    while index < end, file[index] != 0x20 {
      let byte = file[index]
      index += 1
      if byte == UInt8(ascii: "=") { continue }
      guard let value = base64(byte) else { throw bad("is not base64") }
      bits = (bits << 6 | value) & 0xFFFF
      count += 6
      if count >= 8 {
        count -= 8
        builder.tokens.append(UInt8(truncatingIfNeeded: bits >> count))
      }
    }
    guard builder.tokens.blob.count > first else { throw bad("has no token") }
    guard index < end - 1 else { throw bad("has no rank") }
    var rank = 0
    for position in index + 1..<end {
      let digit = Int(file[position]) - 0x30
      guard (0...9).contains(digit), rank < TokenBytes.idLimit else {
        throw bad("has no usable rank")
      }
      rank = rank * 10 + digit
    }
    if rank < builder.tokens.count, builder.tokens.kinds[rank] != .unused {
      throw bad("repeats rank \(rank)")
    }
    if let reason = builder.tokens.finish(from: first, id: rank, kind: .normal) {
      throw bad(reason)
    }
  }

  private static func base64(_ byte: UInt8) -> Int? {
    switch byte {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): Int(byte) - 65
    case UInt8(ascii: "a")...UInt8(ascii: "z"): Int(byte) - 71
    case UInt8(ascii: "0")...UInt8(ascii: "9"): Int(byte) + 4
    case UInt8(ascii: "+"): 62
    case UInt8(ascii: "/"): 63
    default: nil
    }
  }
}
