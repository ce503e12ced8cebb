internal import QwenFormats

/// What a model's generation_config.json asks for, in the names of our options.
struct GenerationDefaults: Sendable {
  /// Checked against the table; values that it refuses are left out.
  var options = JSONObject()
  var stopIDs: [Int32] = []
  /// "raw" marks a base model, "chatml" one that chats (Qwen of 2023).
  var chatFormat: String?
  /// Tokens that history may take in a chat.
  var maximumWindow: Int?

  init() {}

  init(_ file: JSONObject) {
    for option in OptionTable.generate.options {
      if let value = file[option.name], !value.isNull, (try? option.check(value)) != nil {
        options[option.name] = value
      }
    }
    // The file's own class takes 50 where a sampling configuration does not say.
    if options["do_sample"]?.bool == true, options["top_k"] == nil { options["top_k"] = 50 }
    // In this file a temperature says nothing about whether to sample.
    chatFormat = file["chat_format"]?.string
    maximumWindow = file["max_window_size"]?.int
    stopIDs = GenerationDefaults.ids(file["eos_token_id"])
  }

  /// One id or a list of them.
  static func ids(_ value: JSONValue?) -> [Int32] {
    let values = value?.array ?? (value.map { [$0] } ?? [])
    return values.compactMap { $0.int.flatMap { Int32(exactly: $0) } }
  }
}
