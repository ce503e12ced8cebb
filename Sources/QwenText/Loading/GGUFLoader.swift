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
    guard let tokens = metadata["tokenizer.ggml.tokens"]?.array, tokens.strings != nil else {
      throw builder.bad("has no list of tokens")
    }
    let kinds = metadata["tokenizer.ggml.token_type"]?.array?.integers() ?? []
    guard kinds.isEmpty || kinds.count == tokens.count else {
      throw builder.bad("has \(tokens.count) tokens and \(kinds.count) kinds")
    }
    builder.reserve(tokens: tokens.count, bytes: tokens.count * 8)
    let hasTokens = try forEachString(of: tokens) { (id, token) throws(TokenizerError) in
      switch kinds.isEmpty ? 1 : kinds[id] {
      case 3: try builder.addSpecial(text(token), id: id, isControl: true)
      case 4: try builder.addSpecial(text(token), id: id, isControl: false)
      case 5: break
      default: try builder.add(alphabet: token, id: id)
      }
    }
    guard hasTokens else { throw builder.bad("has no list of tokens") }
    try builder.indexTokens()
    let hasMerges = try forEachString(of: metadata["tokenizer.ggml.merges"]?.array) {
      (rank, merge) throws(TokenizerError) in
      try builder.addMergeLine(merge, rank: Int32(truncatingIfNeeded: rank))
    }
    guard hasMerges else { throw builder.bad("has no list of merges") }
    func id(_ name: String) -> Int32? {
      metadata["tokenizer.ggml.\(name)_token_id"]?.int.flatMap { Int32(exactly: $0) }
    }
    return try builder.finish(
      kindName: "gguf/\(splitter.name)", splitter: splitter,
      normalizer: splitter == .qwen ? .stretches : .none, isWhole: false, bosID: id("bos"),
      eosID: id("eos"))
  }

  /// Lends each string of an array to `body`, with its index; false if there is no array, or none of strings.
  @inline(__always)
  private static func forEachString(
    of array: GGUFArray?, _ body: (Int, Span<UInt8>) throws(TokenizerError) -> Void
  ) throws(TokenizerError) -> Bool {
    guard let array, let region = array.strings else { return false }
    return try unsafe region.withUnsafeBytes { (bytes) throws(TokenizerError) in
      let all = unsafe Span<UInt8>(_unsafeBytes: bytes)
      var next = 0
      for index in 0..<array.count {
        guard let place = GGUFArray.string(in: all, at: next) else { return false }
        try body(index, all.extracting(place))
        next = place.upperBound
      }
      return true
    }
  }

  private static func text(_ bytes: Span<UInt8>) -> String {
    unsafe bytes.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
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
