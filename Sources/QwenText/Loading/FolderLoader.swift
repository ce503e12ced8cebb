package import QwenFormats

extension Tokenizer {
  /// Reads the tokenizer files of a model folder: tokenizer.json, vocab.json with merges.txt, or *.tiktoken.
  ///
  /// A `FormatError` is a file that can't be read, a `TokenizerError` one that contradicts itself.
  package static func folder(
    _ folder: Folder
  ) throws(FormatError) -> Result<Tokenizer, TokenizerError> {
    if let file = try folder.bytes("tokenizer.json") {
      return unsafe file.all.withUnsafeBytes { bytes in
        let text = unsafe Span(_unsafeBytes: bytes) as Span<UInt8>
        return Result { () throws(TokenizerError) in
          try huggingFace(text, file: folder.path("tokenizer.json"))
        }
      }
    }
    if let vocabulary = try folder.bytes("vocab.json"), let merges = try folder.bytes("merges.txt")
    {
      let added = try folder.object("tokenizer_config.json")?["added_tokens_decoder"]
      return unsafe vocabulary.all.withUnsafeBytes { first in
        let text = unsafe Span(_unsafeBytes: first) as Span<UInt8>
        return unsafe merges.all.withUnsafeBytes { second in
          let lines = unsafe Span(_unsafeBytes: second) as Span<UInt8>
          return Result { () throws(TokenizerError) in
            try vocabularyAndMerges(
              text, lines, added: added?.object, file: folder.path("vocab.json"))
          }
        }
      }
    }
    let names = try folder.names().filter { $0.hasSuffix(".tiktoken") }
    if let name = names.contains("qwen.tiktoken") ? "qwen.tiktoken" : names.first,
      let file = try folder.bytes(name)
    {
      // The file names no special texts; the code of the launch day beside it does.
      let code = try folder.bytes("tokenization_qwen.py")?.all.repairedText() ?? ""
      let isLaunch = code.holds("<R>") && !code.holds("<|extra_")
      return unsafe file.all.withUnsafeBytes { bytes in
        let text = unsafe Span(_unsafeBytes: bytes) as Span<UInt8>
        return Result { () throws(TokenizerError) in
          try tiktoken(
            text, name: folder.path(name), specials: isLaunch ? .launch : .standard)
        }
      }
    }
    throw try noTokenizer(folder)
  }

  /// Says which tokenizer files a folder lacks, judged by those it has.
  private static func noTokenizer(_ folder: Folder) throws(FormatError) -> FormatError {
    let names = try folder.names()
    func absent(_ has: String, _ lacks: String) -> FormatError {
      FormatError(
        .missing, path: folder.path, "has \(has) but not \(lacks), which belongs to it",
        hint: "download \(lacks) from the same place into the folder")
    }
    if names.contains("vocab.json") { return absent("vocab.json", "merges.txt") }
    if names.contains("merges.txt") { return absent("merges.txt", "vocab.json") }
    if names.contains("tokenization_qwen.py") {
      return absent("tokenization_qwen.py", "qwen.tiktoken")
    }
    if names.contains("tokenizer.model") {
      return FormatError(
        .unsupported, path: folder.path, "has only tokenizer.model, a SentencePiece vocabulary",
        hint: "no Qwen model has one; give a folder with tokenizer.json or qwen.tiktoken")
    }
    return FormatError(
      .missing, path: folder.path, "has no tokenizer files",
      hint: "download tokenizer.json, vocab.json and merges.txt, or qwen.tiktoken into it")
  }

  /// Reads vocab.json (token to id), merges.txt and the added tokens of tokenizer_config.json.
  static func vocabularyAndMerges(
    _ vocabulary: Span<UInt8>, _ merges: Span<UInt8>, added: JSONObject?, file: String
  ) throws(TokenizerError) -> Tokenizer {
    var builder = VocabularyBuilder(file: file)
    var cursor = JSONCursor(file: file)
    try builder.addVocabulary(vocabulary, &cursor)
    if cursor.peek(vocabulary) != 0 || cursor.position < vocabulary.count { throw cursor.bad() }
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
  /// Adds the members of a vocabulary, an object from tokens in the byte alphabet to ids.
  mutating func addVocabulary(
    _ text: Span<UInt8>, _ cursor: inout JSONCursor
  ) throws(TokenizerError) {
    var name: [UInt8] = []
    try cursor.expect(UInt8(ascii: "{"), text)
    var isFirst = true
    while try cursor.hasElement(first: isFirst, close: UInt8(ascii: "}"), text) {
      isFirst = false
      try cursor.name(text, into: &name)
      let id = try cursor.number(text)
      if id < tokens.count, tokens.kinds[id] != .unused {
        throw bad("two tokens have the id \(id)")
      }
      try add(alphabet: name.span, id: id)
    }
  }

  /// Adds merges: an array of lines, or of pairs.
  mutating func addMerges(
    _ text: Span<UInt8>, _ cursor: inout JSONCursor
  ) throws(TokenizerError) {
    var (left, right): ([UInt8], [UInt8]) = ([], [])
    var rank: Int32 = 0
    try cursor.expect(UInt8(ascii: "["), text)
    var isFirst = true
    while try cursor.hasElement(first: isFirst, close: UInt8(ascii: "]"), text) {
      isFirst = false
      if cursor.peek(text) == UInt8(ascii: "[") {
        try cursor.expect(UInt8(ascii: "["), text)
        try cursor.string(text, into: &left)
        try cursor.expect(UInt8(ascii: ","), text)
        try cursor.string(text, into: &right)
        try cursor.expect(UInt8(ascii: "]"), text)
        try addMerge(left.span, right.span, rank: rank)
      } else {
        try cursor.string(text, into: &left)
        try addMergeLine(left.span, rank: rank)
      }
      if rank == Int32.max { throw bad("too many merges") }
      rank += 1
    }
  }
}
