package import QwenFormats

extension Tokenizer {
  /// Reads the tokenizer files of a model folder: tokenizer.json, vocab.json with merges.txt, or *.tiktoken.
  ///
  /// A `FormatError` is a file that can't be read, a `TokenizerError` one that contradicts itself.
  package static func folder(
    _ folder: Folder
  ) throws(FormatError) -> Result<Tokenizer, TokenizerError> {
    if let document = try folder.object("tokenizer.json") {
      return Result { () throws(TokenizerError) in
        try huggingFace(document, file: folder.path("tokenizer.json"))
      }
    }
    if let vocabulary = try folder.object("vocab.json"), let merges = try folder.bytes("merges.txt")
    {
      let added = try folder.object("tokenizer_config.json")?["added_tokens_decoder"]
      return unsafe merges.all.withUnsafeBytes { bytes in
        let lines = unsafe Span(_unsafeBytes: bytes) as Span<UInt8>
        return Result { () throws(TokenizerError) in
          try vocabularyAndMerges(
            vocabulary, lines, added: added?.object, file: folder.path("vocab.json"))
        }
      }
    }
    let names = try folder.names().filter { $0.hasSuffix(".tiktoken") }
    if let name = names.contains("qwen.tiktoken") ? "qwen.tiktoken" : names.first,
      let file = try folder.bytes(name)
    {
      return unsafe file.all.withUnsafeBytes { bytes in
        let text = unsafe Span(_unsafeBytes: bytes) as Span<UInt8>
        return Result { () throws(TokenizerError) in
          try tiktoken(text, name: folder.path(name), specials: .standard)
        }
      }
    }
    throw FormatError(
      .missing, path: folder.path, "has no tokenizer files",
      hint: "download tokenizer.json, vocab.json and merges.txt, or qwen.tiktoken into it")
  }

  /// Reads vocab.json (token to id), merges.txt and the added tokens of tokenizer_config.json.
  static func vocabularyAndMerges(
    _ vocabulary: JSONObject, _ merges: Span<UInt8>, added: JSONObject?, file: String
  ) throws(TokenizerError) -> Tokenizer {
    var builder = VocabularyBuilder(file: file)
    try builder.addVocabulary(vocabulary)
    try builder.indexTokens()
    var rank: Int32 = 0
    var index = 0
    while index < merges.count {
      var end = index
      while end < merges.count, merges[end] != 0x0A { end += 1 }
      var last = end
      if last > index, merges[last - 1] == 0x0D { last -= 1 }
      let line = merges.extracting(index..<last)
      index = end + 1
      // The first line may name the version of the file.
      if line.count == 0 || (rank == 0 && starts(line, with: "#version")) { continue }
      try builder.addMergeLine(line, rank: rank)
      rank += 1
    }
    for (key, value) in added?.entries ?? [] {
      guard let id = Int(key), let text = value["content"]?.string else { continue }
      try builder.addSpecial(text, id: id, isControl: value["special"]?.bool ?? true)
    }
    return try builder.finish(
      kindName: "vocab/qwen", splitter: .qwen, normalizer: .stretches, isWhole: false)
  }

  private static func starts(_ text: Span<UInt8>, with prefix: String) -> Bool {
    let prefix = Array(prefix.utf8)
    guard text.count >= prefix.count else { return false }
    for index in prefix.indices where text[index] != prefix[index] { return false }
    return true
  }
}

extension VocabularyBuilder {
  /// Adds the members of a vocabulary: token in the byte alphabet to id.
  mutating func addVocabulary(_ vocabulary: JSONObject) throws(TokenizerError) {
    tokens.reserve(tokens: vocabulary.count, bytes: vocabulary.count * 8)
    for (text, value) in vocabulary.entries {
      guard let id = value.int, id >= 0 else {
        throw bad("token \"\(escaped(text))\" has no usable id")
      }
      if id < tokens.count, tokens.kinds[id] != .unused {
        throw bad("two tokens have the id \(id)")
      }
      let bytes = Array(text.utf8)
      try add(alphabet: bytes.span, id: id)
    }
  }
}
