/// A vocabulary as GGUF files spell it: tokens in the byte alphabet, their kinds by number, merges as lines.
package struct GGUFVocabulary: Sendable {
  /// Value of `tokenizer.ggml.pre`.
  package let pre: String
  /// One text for each row of the embedding.
  package let tokens: [[UInt8]]
  /// 1 ordinary, 3 control, 4 special but shown, 5 filler.
  package let kinds: [Int32]
  /// "left right", lowest rank first.
  package let merges: [[UInt8]]
}

extension Tokenizer {
  /// The vocabulary for a file whose embedding has `rows` rows; ids without text become `[PAD151851]`.
  ///
  /// A vocabulary of ranks alone gets the merges that its ranks imply.
  package func ggufVocabulary(rows: Int) -> GGUFVocabulary {
    let letters = (0..<256).map { ByteAlphabet.letter(UInt8($0)) }
    func spelled(_ id: Int32) -> [UInt8] {
      let (start, end) = tokens.bounds(id)
      return tokens.blob[start..<end].flatMap { letters[Int($0)] }
    }
    var texts: [[UInt8]] = []
    var kinds: [Int32] = []
    for id in 0..<rows {
      let kind = id < tokens.count ? tokens.kinds[id] : .unused
      switch kind {
      case .normal: texts.append(spelled(Int32(id)))
      case .literal, .added, .control: texts.append(bytes(of: Int32(id)) ?? [])
      case .unused: texts.append(Array("[PAD\(id)]".utf8))
      }
      switch kind {
      case .normal, .literal: kinds.append(1)
      case .control: kinds.append(3)
      case .added: kinds.append(4)
      case .unused: kinds.append(5)
      }
    }
    let merges = merger.pairs.byRank.map { pair in
      spelled(pair.left) + [UInt8(ascii: " ")] + spelled(pair.right)
    }
    let pre = Splitter.ggufNames.first { $0.splitter == splitter }?.name ?? splitter.name
    return GGUFVocabulary(pre: pre, tokens: texts, kinds: kinds, merges: merges)
  }
}

extension PairTable {
  /// All pairs, lowest rank first.
  var byRank: [(left: Int32, right: Int32)] {
    pairs.sorted { ($0.rank, $0.left, $0.right) < ($1.rank, $1.left, $1.right) }
      .map { ($0.left, $0.right) }
  }
}
