/// Cuts ordinary text into the pieces that are merged on their own, in linear time.
///
/// Each kind is a hand-written matcher of one published regular expression; see the file of each.
package enum Splitter: Sendable, Equatable {
  /// Qwen 1 to 3.
  case qwen
  /// GPT-2.
  case gpt2
  /// SmolLM: every digit alone, then GPT-2.
  case smollm

  /// Name used in messages and facts.
  package var name: String {
    switch self {
    case .qwen: "qwen"
    case .gpt2: "gpt2"
    case .smollm: "smollm"
    }
  }

  /// Values of GGUF's `tokenizer.ggml.pre`, and which splitter each one means.
  static let ggufNames: [(name: String, splitter: Splitter)] = [
    ("qwen2", .qwen), ("qwen", .qwen), ("deepseek-r1-qwen", .qwen),
    ("smollm", .smollm), ("gpt-2", .gpt2), ("gpt2", .gpt2),
  ]

  /// What `unknownPreTokenizer` lists.
  static var knownNames: [String] { ggufNames.map(\.name) }

  /// The splitter a GGUF file names.
  ///
  /// Early Qwen files have no name, or "default"; both mean Qwen if the architecture is a Qwen.
  package static func named(
    _ pre: String?, architecture: String
  ) throws(TokenizerError) -> Splitter {
    if let pre, let row = ggufNames.first(where: { $0.name == pre }) { return row.splitter }
    if pre == nil || pre == "default", architecture.hasPrefix("qwen") { return .qwen }
    throw .unknownPreTokenizer(name: pre ?? "(none)")
  }

  /// End of the piece that begins at `index`; `index < end`, well-formed UTF-8.
  @inline(__always)
  func next(_ text: Span<UInt8>, _ index: Int, _ end: Int, _ classes: UnicodeClasses) -> Int {
    switch self {
    case .qwen: QwenSplitter.next(text, index, end, classes)
    case .gpt2: GPT2Splitter.next(text, index, end, classes, digitsAlone: false)
    case .smollm: GPT2Splitter.next(text, index, end, classes, digitsAlone: true)
    }
  }

  /// End of the run of characters with any bit of `wanted`, from `index` on.
  @inline(__always)
  static func run(
    of wanted: UnicodeClass, _ text: Span<UInt8>, _ index: Int, _ end: Int,
    _ classes: UnicodeClasses
  ) -> Int {
    var index = index
    while index < end {
      let (bits, width) = classes.at(text, index)
      if bits.isDisjoint(with: wanted) { break }
      index &+= width
    }
    return index
  }

  /// End of the run of letters from `index` on.
  @inline(__always)
  static func letters(
    _ text: Span<UInt8>, _ index: Int, _ end: Int, _ classes: UnicodeClasses
  ) -> Int {
    // UInt8 has no padding, so its bytes may be read raw; any 8 of them are a UInt64, and the span checks that they are
    // inside it.
    let bytes = unsafe text.bytes
    var index = index
    while end &- index >= 8 {
      // 8 bytes at once and no branch for each: the length of a word is not to be guessed.
      let word = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self)
      let others = notLetters(word)
      if others == 0 {
        index &+= 8
        continue
      }
      index &+= others.trailingZeroBitCount &>> 3
      if text[index] < 0x80 { return index }
      repeat {
        let (bits, width) = classes.at(text, index)
        if bits.isDisjoint(with: .letter) { return index }
        index &+= width
      } while index < end && text[index] >= 0x80
    }
    return run(of: .letter, text, index, end, classes)
  }

  /// The upper bit of each byte that is no letter of ASCII.
  @inline(__always)
  private static func notLetters(_ word: UInt64) -> UInt64 {
    let lower = (word | 0x2020_2020_2020_2020) & 0x7F7F_7F7F_7F7F_7F7F
    // Sums of 7 bits reach the upper bit from "a" on, and from behind "z" on.
    let fromA = lower &+ 0x1F1F_1F1F_1F1F_1F1F
    let behindZ = lower &+ 0x0505_0505_0505_0505
    return (~fromA | behindZ | word) & 0x8080_8080_8080_8080
  }

  /// End of the run of characters with no bit of `unwanted`, from `index` on.
  @inline(__always)
  static func run(
    without unwanted: UnicodeClass, _ text: Span<UInt8>, _ index: Int, _ end: Int,
    _ classes: UnicodeClasses
  ) -> Int {
    var index = index
    while index < end {
      let (bits, width) = classes.at(text, index)
      if !bits.isDisjoint(with: unwanted) { break }
      index &+= width
    }
    return index
  }
}
