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
