internal import QwenFormats

extension Tokenizer {
  /// Reads a tokenizer.json whose model is byte-level BPE and whose way of splitting this build knows.
  static func huggingFace(_ text: Span<UInt8>, file: String) throws(TokenizerError) -> Tokenizer {
    var builder = VocabularyBuilder(file: file)
    let (document, model, places) = try outline(text, file: file)
    guard let vocabulary = places["vocab"] else {
      throw builder.bad("has no \"model\" with a \"vocab\"")
    }
    if let type = model["type"]?.string, type != "BPE" {
      throw .unsupported(file: file, feature: "the model \"\(escaped(type))\"")
    }
    let splitter = try splitter(document["pre_tokenizer"] ?? .null)
    let normalizer = try normalizer(document["normalizer"] ?? .null, file: file)
    var cursor = JSONCursor(file: file, at: vocabulary)
    try builder.addVocabulary(text, &cursor)
    let added = document["added_tokens"]?.array ?? []
    // Added tokens may stand in the vocabulary as well; there they are not ordinary text.
    for token in added {
      guard let id = token["id"]?.int, let text = token["content"]?.string else {
        throw builder.bad("has an added token without \"id\" or \"content\"")
      }
      try builder.addSpecial(text, id: id, isControl: token["special"]?.bool ?? false)
    }
    try builder.indexTokens()
    if let merges = places["merges"] {
      cursor = JSONCursor(file: file, at: merges)
      try builder.addMerges(text, &cursor)
    }
    return try builder.finish(
      kindName: "tokenizer.json/\(splitter.name)", splitter: splitter, normalizer: normalizer,
      isWhole: model["ignore_merges"]?.bool ?? false)
  }

  /// The document and its "model" without the long members of the latter, and where those begin.
  private static func outline(
    _ text: Span<UInt8>, file: String
  ) throws(TokenizerError) -> (JSONObject, JSONObject, places: [String: Int]) {
    var document = JSONObject()
    var model = JSONObject()
    var places: [String: Int] = [:]
    var cursor = JSONCursor(file: file)
    var name: [UInt8] = []
    try cursor.expect(UInt8(ascii: "{"), text)
    var isFirst = true
    while try cursor.hasElement(first: isFirst, close: UInt8(ascii: "}"), text) {
      isFirst = false
      try cursor.name(text, into: &name)
      let key = String(decoding: name, as: UTF8.self)
      guard key == "model", cursor.peek(text) == UInt8(ascii: "{") else {
        document[key] = try cursor.value(text)
        continue
      }
      try cursor.expect(UInt8(ascii: "{"), text)
      var isFirst = true
      while try cursor.hasElement(first: isFirst, close: UInt8(ascii: "}"), text) {
        isFirst = false
        try cursor.name(text, into: &name)
        let key = String(decoding: name, as: UTF8.self)
        if key == "vocab" || key == "merges" {
          places[key] = try cursor.skip(text).lowerBound
        } else {
          model[key] = try cursor.value(text)
        }
      }
    }
    if cursor.peek(text) != 0 || cursor.position < text.count { throw cursor.bad() }
    return (document, model, places)
  }

  private static func normalizer(
    _ value: JSONValue, file: String
  ) throws(TokenizerError) -> Normalizer {
    switch value["type"]?.string {
    case nil: return .none
    case "NFC": return .stretches
    case "Sequence" where value["normalizers"]?.array?.isEmpty == true: return .none
    case let type?: throw .unsupported(file: file, feature: "the normalizer \"\(escaped(type))\"")
    }
  }

  /// Regular expression of the Qwen families, as their files spell it.
  private static let qwenPattern =
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"#
    + #"\s*[\r\n]+|\s+(?!\S)|\s+"#

  /// The splitter that a pre_tokenizer describes: a byte-level step, before it a regex or digits alone.
  private static func splitter(_ value: JSONValue) throws(TokenizerError) -> Splitter {
    let steps = value["type"]?.string == "Sequence" ? value["pretokenizers"]?.array ?? [] : [value]
    let names = steps.map { $0["type"]?.string ?? "(none)" }
    let hasPrefix = steps.contains { $0["add_prefix_space"]?.bool == true }
    let usesRegex = steps.last?["use_regex"]?.bool ?? true
    if !hasPrefix, names == ["Split", "ByteLevel"], !usesRegex,
      steps[0]["pattern"]?["Regex"]?.string == qwenPattern
    {
      return .qwen
    }
    if !hasPrefix, names == ["Digits", "ByteLevel"], usesRegex,
      steps[0]["individual_digits"]?.bool == true
    {
      return .smollm
    }
    if !hasPrefix, names == ["ByteLevel"], usesRegex { return .gpt2 }
    throw .unknownPreTokenizer(name: names.map { escaped($0) }.joined(separator: " + "))
  }
}
