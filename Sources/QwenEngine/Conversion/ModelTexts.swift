internal import QwenFormats
internal import QwenModel
internal import QwenText

/// Metadata of GGUF files that others have no words for.
enum GGUFKeys {
  /// The text of generation_config.json.
  static let generation = "libqwen.generation_config"

  /// What a file that was made from a folder keeps of its generation_config.json.
  static func generationConfig(_ file: GGUFFile) throws(FormatError) -> JSONObject {
    guard let text = file.metadata[generation]?.string else { return JSONObject() }
    do {
      return try JSONValue(parsing: Array(text.utf8)).object ?? JSONObject()
    } catch {
      throw FormatError(
        error.formatKind, path: file.path, "\"\(generation)\" is not JSON: \(error.message)")
    }
  }
}

extension Folder {
  /// The chat template of a folder: in its tokenizer_config.json, or a file of its own.
  func chatTemplate() throws(FormatError) -> String? {
    if let file = try bytes("chat_template.jinja") { return file.all.repairedText() }
    let value = try object("tokenizer_config.json")?["chat_template"]
    if let named = value?.array {
      let entry = named.first { $0["name"]?.string == "default" } ?? named.first
      return entry?["template"]?.string
    }
    return value?.string
  }

}

/// What a folder says of its vocabulary, for files that keep it in one place.
struct VocabularyFacts {
  let template: String?
  let generation: JSONObject
  /// Ids by the names that GGUF gives them: "bos", "eos", "padding".
  let ids: [(name: String, id: Int32)]

  init(_ folder: Folder, _ tokenizer: Tokenizer, _ family: ModelFamily) throws(FormatError) {
    let settings = try folder.object("tokenizer_config.json") ?? JSONObject()
    let config = try folder.object("config.json") ?? JSONObject()
    let generation = try folder.object("generation_config.json") ?? JSONObject()
    func named(_ key: String) -> Int32? {
      let value = settings[key]
      return (value?.string ?? value?["content"]?.string).flatMap { tokenizer.id(of: $0) }
    }
    func listed(_ key: String) -> Int32? {
      GenerationDefaults.ids(config[key]).first ?? GenerationDefaults.ids(generation[key]).first
    }
    let eos = named("eos_token") ?? listed("eos_token_id") ?? tokenizer.eosID
    var ids: [(name: String, id: Int32)] = []
    func add(_ name: String, _ id: Int32?) {
      if let id, tokenizer.hasText(id) { ids.append((name, id)) }
    }
    if family == .qwen {
      // One control token serves as all of them in the first generation.
      for name in ["bos", "eos", "unknown"] { add(name, tokenizer.eosID) }
    } else {
      add("bos", named("bos_token") ?? listed("bos_token_id"))
      add("eos", eos)
      add("padding", named("pad_token") ?? listed("pad_token_id"))
    }
    let usual = family == .qwen ? VocabularyFacts.firstTemplate : nil
    template = try folder.chatTemplate() ?? usual
    self.ids = ids
    self.generation = generation
  }

  /// The prompt of the first generation, which its folders have in code only.
  private static let firstTemplate =
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    + "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    + "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"

  /// The pairs of a GGUF file, with the vocabulary for an embedding of `rows` rows.
  func metadata(_ tokenizer: Tokenizer, rows: Int) -> [(key: String, value: GGUFOutput)] {
    let vocabulary = tokenizer.ggufVocabulary(rows: rows)
    var pairs: [(key: String, value: GGUFOutput)] = [
      ("tokenizer.ggml.model", .string("gpt2")),
      ("tokenizer.ggml.pre", .string(vocabulary.pre)),
      ("tokenizer.ggml.tokens", .strings(vocabulary.tokens)),
      ("tokenizer.ggml.token_type", .i32s(vocabulary.kinds)),
      ("tokenizer.ggml.merges", .strings(vocabulary.merges)),
    ]
    for (name, id) in ids { pairs.append(("tokenizer.ggml.\(name)_token_id", .u32(UInt32(id)))) }
    pairs.append(("tokenizer.ggml.add_bos_token", .bool(false)))
    if let template { pairs.append(("tokenizer.chat_template", .string(template))) }
    if !generation.isEmpty {
      pairs.append((GGUFKeys.generation, .string(JSONValue.object(generation).serialized())))
    }
    return pairs
  }
}
