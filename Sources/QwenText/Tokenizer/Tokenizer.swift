internal import Synchronization

/// Text to token ids and back, as the tokenizer of a model's own files does it. Immutable; any thread.
package final class Tokenizer: Sendable {
  /// Which special texts stand for their id rather than for themselves.
  package enum SpecialPolicy: Sendable, Equatable {
    /// None: control text is ordinary text.
    case none
    /// All the vocabulary has.
    case all
    /// These; texts that are not special are ignored.
    case only([String])
  }

  /// When text is brought to normalisation form C.
  enum Normalizer: Sendable {
    case none
    /// The whole text, before special texts are looked for: the Qwen of 2023.
    case wholeText
    /// Each stretch between special texts: Hugging Face tokenizers.
    case stretches
  }

  /// What makes a tokenizer, as the loaders find it.
  struct Parts: Sendable {
    var kindName: String
    var tokens: TokenBytes
    var pieces: PieceTable
    /// Whether a piece that is a token stands for itself; otherwise what its bytes merge to counts.
    var areWhole: Bool
    var merger: BytePairMerger
    var splitter: Splitter
    var normalizer: Normalizer
    var specials: [SpecialTokens.Entry]
    var bosID: Int32? = nil
    var eosID: Int32? = nil
  }

  /// Longest text that is encoded in one call, in bytes.
  package static let byteLimit = 1 << 30

  /// Where the vocabulary came from and how it splits: "tiktoken/qwen", "gguf/smollm".
  package let kindName: String
  /// Beginning and end of text as the files name them.
  package let bosID: Int32?
  package let eosID: Int32?
  /// Ids from 0 up to the last that has text, plus one; ids beyond it must never be sampled.
  package let usableCount: Int

  let tokens: TokenBytes
  let pieces: PieceTable
  let areWhole: Bool
  let merger: BytePairMerger
  let splitter: Splitter
  let normalizer: Normalizer
  let specialTokens: SpecialTokens
  let classes: UnicodeClasses
  /// Of encodings that have ended, for those to come: as many as there were at once, to a limit.
  let idleCaches = Mutex<[PieceCache]>([])

  init(_ parts: Parts) {
    kindName = parts.kindName
    bosID = parts.bosID
    eosID = parts.eosID
    tokens = parts.tokens
    pieces = parts.pieces
    areWhole = parts.areWhole
    merger = parts.merger
    splitter = parts.splitter
    normalizer = parts.normalizer
    specialTokens = SpecialTokens(parts.specials)
    classes = UnicodeClasses.shared
    usableCount = (parts.tokens.kinds.lastIndex { $0 != .unused } ?? -1) + 1
  }

  /// Ids the vocabulary has, fillers without text included.
  package var count: Int { tokens.count }

  /// Every special text, by id ascending; those that are not control survive `skipSpecial`.
  package var specials: [(text: String, id: Int32, isControl: Bool)] {
    specialTokens.entries.map { ($0.text, $0.id, $0.isControl) }
  }

  /// Whether the id is in the vocabulary and has text.
  package func hasText(_ id: Int32) -> Bool {
    id >= 0 && Int(id) < tokens.count && tokens.kinds[Int(id)] != .unused
  }

  /// Whether the id steers the model and is hidden from readers; false for unknown ids.
  package func isControl(_ id: Int32) -> Bool {
    id >= 0 && Int(id) < tokens.count && tokens.kinds[Int(id)] == .control
  }

  /// Whether only special text makes this id: control tokens, and such as `<think>`.
  package func isSpecial(_ id: Int32) -> Bool {
    guard id >= 0, Int(id) < tokens.count else { return false }
    return tokens.kinds[Int(id)] == .control || tokens.kinds[Int(id)] == .added
  }

  /// The bytes of a token, which need not be UTF-8 on their own; nil for an id without text.
  package func bytes(of id: Int32) -> [UInt8]? {
    guard hasText(id) else { return nil }
    let (start, end) = tokens.bounds(id)
    return Array(tokens.blob[start..<end])
  }

  /// The id whose text is exactly this, special texts first; nil if there is none.
  package func id(of text: String) -> Int32? { id(of: Array(text.utf8)) }

  /// The id whose bytes are exactly these, special texts first; nil if there is none.
  package func id(of bytes: [UInt8]) -> Int32? {
    let span = bytes.span
    if let entry = specialTokens.entry(span) { return entry.id }
    let id = pieces.find(span, 0, span.count, tokens)
    if id >= 0 { return id }
    let literal = tokens.kinds.indices.first {
      tokens.kinds[$0] == .literal && tokens.equals(Int32($0), span, 0, span.count)
    }
    return literal.map { Int32($0) }
  }
}
