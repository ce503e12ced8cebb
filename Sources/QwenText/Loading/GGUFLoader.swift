package import QwenFormats

extension Tokenizer {
  /// Reads the vocabulary of a GGUF file: tokens and merges in the byte alphabet, kinds by number.
  package static func gguf(_ file: GGUFFile) throws(TokenizerError) -> Tokenizer {
    let metadata = file.metadata
    var builder = VocabularyBuilder(file: file.path)
    let model = metadata["tokenizer.ggml.model"]?.string ?? "(none)"
    guard model == "gpt2" else {
      throw .unsupported(file: file.path, feature: "tokenizer model \"\(escaped(model))\"")
    }
    let architecture = metadata["general.architecture"]?.string ?? ""
    let splitter = try Splitter.named(
      metadata["tokenizer.ggml.pre"]?.string, architecture: architecture)
    guard let tokens = metadata["tokenizer.ggml.tokens"]?.array?.strings() else {
      throw builder.bad("has no list of tokens")
    }
    let kinds = metadata["tokenizer.ggml.token_type"]?.array?.integers() ?? []
    guard kinds.isEmpty || kinds.count == tokens.count else {
      throw builder.bad("has \(tokens.count) tokens and \(kinds.count) kinds")
    }
    builder.tokens.reserve(tokens: tokens.count, bytes: tokens.count * 8)
    for (id, token) in tokens.enumerated() {
      switch kinds.isEmpty ? 1 : kinds[id] {
      case 3:
        try builder.addSpecial(
          String(decoding: token, as: UTF8.self), id: id, isControl: true)
      case 4:
        try builder.addSpecial(
          String(decoding: token, as: UTF8.self), id: id, isControl: false)
      case 5: continue
      default: try builder.add(alphabet: token.span, id: id)
      }
    }
    try builder.indexTokens()
    guard let merges = metadata["tokenizer.ggml.merges"]?.array?.strings() else {
      throw builder.bad("has no list of merges")
    }
    for (rank, merge) in merges.enumerated() {
      try builder.addMergeLine(merge.span, rank: Int32(truncatingIfNeeded: rank))
    }
    func id(_ name: String) -> Int32? {
      metadata["tokenizer.ggml.\(name)_token_id"]?.int.flatMap { Int32(exactly: $0) }
    }
    return try builder.finish(
      kindName: "gguf/\(splitter.name)", splitter: splitter,
      normalizer: splitter == .qwen ? .stretches : .none, isWhole: false, bosID: id("bos"),
      eosID: id("eos"))
  }
}

extension VocabularyBuilder {
  /// Adds a merge written as two tokens with a space between.
  mutating func addMergeLine(_ line: Span<UInt8>, rank: Int32) throws(TokenizerError) {
    var space = 0
    while space < line.count, line[space] != 0x20 { space += 1 }
    guard space > 0, space < line.count - 1 else {
      throw bad("merge \(rank) is not two tokens with a space between")
    }
    try addMerge(line.extracting(0..<space), line.extracting(space + 1..<line.count), rank: rank)
  }
}
