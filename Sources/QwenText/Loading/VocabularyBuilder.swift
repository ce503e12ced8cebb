/// Collects the tokens and merges of one vocabulary, from whatever files they come.
struct VocabularyBuilder {
  /// File named in messages.
  let file: String
  var tokens = TokenBytes()
  var specials: [SpecialTokens.Entry] = []
  private var pieces = PieceTable(capacity: 0)
  private var pairs = PairTable(capacity: 0)
  /// Whether what merging makes of a token's bytes is known to be the token.
  private var areTokensMerged = true
  /// What the last merge made: most files have merges in the order of what they make.
  private var lastMerged: Int32 = -1
  private var scratch: [UInt8] = []

  init(file: String) { self.file = file }

  /// Room for so many tokens.
  mutating func reserve(tokens count: Int, bytes: Int) {
    tokens.reserve(tokens: count, bytes: bytes)
  }

  /// Adds a token written in the byte alphabet; one outside it is kept as the literal text it is.
  mutating func add(alphabet text: Span<UInt8>, id: Int) throws(TokenizerError) {
    let start = tokens.blob.count
    var kind = TokenKind.normal
    if let end = ByteAlphabet.decode(text, into: &scratch) {
      tokens.append(scratch, count: end)
    } else {
      tokens.append(text)
      kind = .literal
    }
    if let reason = tokens.finish(from: start, id: id, kind: kind) { throw bad(reason) }
  }

  /// Adds a token from its bytes.
  mutating func add(bytes: some Sequence<UInt8>, id: Int, kind: TokenKind) throws(TokenizerError) {
    if let reason = tokens.add(bytes, id: id, kind: kind) { throw bad(reason) }
  }

  /// Makes `text` the special text of `id`, whether or not it was in the vocabulary.
  mutating func addSpecial(_ text: String, id: Int, isControl: Bool) throws(TokenizerError) {
    try add(bytes: text.utf8, id: id, kind: isControl ? .control : .added)
    specials.append(
      SpecialTokens.Entry(
        text: text, id: Int32(truncatingIfNeeded: id), isControl: isControl))
  }

  /// Enters the ordinary tokens into the table by bytes; call before merges are added.
  mutating func indexTokens() throws(TokenizerError) {
    pieces = PieceTable(capacity: tokens.count)
    for id in 0..<tokens.count where tokens.kinds[id] == .normal {
      let id = Int32(truncatingIfNeeded: id)
      let (start, end) = tokens.bounds(id)
      if start == end { throw bad("token \(id) is empty") }
      if !pieces.insert(id, tokens) { throw bad("token \(id) has the text of another one") }
    }
    pairs = PairTable(capacity: tokens.count)
  }

  /// Adds a merge of two tokens given in the byte alphabet. Ranks rise with the order of the file.
  mutating func addMerge(
    _ left: Span<UInt8>, _ right: Span<UInt8>, rank: Int32
  ) throws(TokenizerError) {
    guard let middle = ByteAlphabet.decode(left, into: &scratch),
      let end = ByteAlphabet.decode(right, into: &scratch, at: middle)
    else { throw bad("merge \(rank) is not written in the byte alphabet") }
    let (a, b, merged) = find(scratch.span, middle, end)
    guard a >= 0, b >= 0, merged >= 0 else {
      throw bad("merge \(rank) joins tokens that are not in the vocabulary")
    }
    guard pairs.insert(a, b, rank: rank, id: merged) else { throw bad("degenerate merges") }
    lastMerged = merged
  }

  /// The tokens before and behind the middle of `text`, and that of both, -1 for none.
  @inline(__always)
  private func find(
    _ text: Span<UInt8>, _ middle: Int, _ end: Int
  ) -> (left: Int32, right: Int32, both: Int32) {
    let next = lastMerged &+ 1
    let isNext =
      Int(next) < tokens.count && tokens.kinds[Int(next)] == .normal
      && tokens.equals(next, text, 0, end)
    return (
      pieces.find(text, 0, middle, tokens), pieces.find(text, middle, end, tokens),
      isNext ? next : pieces.find(text, 0, end, tokens)
    )
  }

  /// Adds the merges of a vocabulary that has only ranks: lower ranks merge first, and any two neighbours
  /// that make a token may merge.
  ///
  /// If each token is merged from exactly two others by the merges of lower rank, these pairs are all that
  /// ever merge: when a pair of rank r is the lowest in a text, whatever could be merged inside its bytes
  /// below r has been merged, in the order in which the token on its own is. Otherwise every way of cutting
  /// a token in two is entered.
  mutating func addRankMerges() throws(TokenizerError) {
    var merger = BytePairMerger(
      pairs: PairTable(capacity: tokens.count), byteIDs: byteIDs(), unknownID: nil)
    var scratch = BytePairMerger.Scratch()
    for id in 0..<tokens.count where tokens.kinds[id] == .normal {
      let id = Int32(truncatingIfNeeded: id)
      let (start, end) = tokens.bounds(id)
      guard end - start > 1 else { continue }
      // Only merges of lower rank are in the table so far.
      merger.merge(tokens.blob.span, start, end, &scratch)
      guard scratch.ids.count == 2 else { return try addSplits() }
      guard merger.pairs.insert(scratch.ids[0], scratch.ids[1], rank: id, id: id) else {
        throw bad("degenerate merges")
      }
    }
    pairs = merger.pairs
  }

  /// Adds every way of cutting a token in two tokens; its id is the rank.
  private mutating func addSplits() throws(TokenizerError) {
    pairs = PairTable(capacity: tokens.count * 2)
    areTokensMerged = false
    for id in 0..<tokens.count where tokens.kinds[id] == .normal {
      let id = Int32(truncatingIfNeeded: id)
      let (start, end) = tokens.bounds(id)
      guard end - start > 1 else { continue }
      for middle in start + 1..<end {
        let left = pieces.find(tokens.blob.span, start, middle, tokens)
        guard left >= 0 else { continue }
        let right = pieces.find(tokens.blob.span, middle, end, tokens)
        guard right >= 0 else { continue }
        guard pairs.insert(left, right, rank: id, id: id) else { throw bad("degenerate merges") }
      }
    }
  }

  /// Token of each byte, -1 for none.
  private func byteIDs() -> [Int32] { (0..<256).map { find([UInt8($0)]) } }

  private func find(_ bytes: [UInt8]) -> Int32 {
    pieces.find(bytes.span, 0, bytes.count, tokens)
  }

  /// The tokenizer of what was collected. `isWhole`: a piece that is a token stands for itself unmerged.
  mutating func finish(
    kindName: String, splitter: Splitter, normalizer: Tokenizer.Normalizer, isWhole: Bool,
    unknownID: Int32? = nil, bosID: Int32? = nil, eosID: Int32? = nil
  ) throws(TokenizerError) -> Tokenizer {
    var merger = BytePairMerger(pairs: pairs, byteIDs: byteIDs(), unknownID: unknownID)
    if areTokensMerged { merger.characters = CharacterTable(merger, tokens) }
    return Tokenizer(
      Tokenizer.Parts(
        kindName: kindName, tokens: tokens, pieces: pieces, areWhole: isWhole, merger: merger,
        splitter: splitter,
        normalizer: normalizer, specials: specials, bosID: bosID, eosID: eosID))
  }

  func bad(_ reason: String) -> TokenizerError { .badVocabulary(file: file, reason: reason) }
}
