internal import QwenFormats
internal import QwenModel
internal import QwenText

/// How to chat with a model, or why not.
struct ChatChoice: Sendable {
  var format: ChatFormat?
  var refusal: EngineError?

  /// What decides.
  struct Evidence {
    /// "chat_format" of the options of opening: "auto", "raw", or a name.
    var asked: String
    var template: String?
    var family: ModelFamily
    var defaults: GenerationDefaults
    /// What tokenizer_config.json calls the end of a text.
    var eosText: String?
  }

  init(_ evidence: Evidence, _ tokenizer: Tokenizer) {
    switch evidence.asked {
    case "auto": break
    case "raw":
      refusal = ChatChoice.refusal("the model was opened with \"chat_format\": \"raw\"")
      return
    default:
      format = ChatFormat.named(evidence.asked, tokenizer: tokenizer)
      if format == nil { refusal = ChatChoice.withoutTokens }
      return
    }
    if evidence.family == .qwen {
      if evidence.defaults.chatFormat == "raw" {
        refusal = ChatChoice.refusal(
          "this is a base model (\"chat_format\" of its generation_config.json is \"raw\"): it continues text"
        )
      } else {
        format = .firstGeneration(tokenizer)
        if format == nil { refusal = ChatChoice.withoutTokens }
      }
      return
    }
    guard let template = evidence.template else {
      refusal = ChatChoice.refusal("this model has no chat template: it continues text")
      return
    }
    guard let known = ChatFormat.recognize(template: template, tokenizer: tokenizer) else {
      refusal = ChatChoice.refusal(
        "the chat template of this model is none that this library knows")
      return
    }
    // Base models bring the template of their family as well; that they never learned to end a turn shows in
    // what they call the end of a text.
    let ends = evidence.defaults.stopIDs
    if !ends.isEmpty, let end = known.stopIDs.first, !ends.contains(end),
      let eos = evidence.eosText, eos != "<|im_end|>"
    {
      refusal = ChatChoice.refusal(
        "this looks like a base model: neither its generation_config.json nor its tokenizer_config.json ends a text with <|im_end|>"
      )
      return
    }
    format = known
  }

  private static func refusal(_ message: String) -> EngineError {
    EngineError(
      .unsupported, message,
      hint:
        "use qwen_generate with a prompt of your own, take a Chat or Instruct model, or open the model with \"chat_format\": one of "
        + ChatFormat.names.map { "\"\($0)\"" }.joined(separator: ", "))
  }

  private static let withoutTokens = EngineError(
    .unsupported, "the vocabulary has no <|im_start|> and <|im_end|>, so there is no chat",
    hint: "use qwen_generate with a prompt of your own")
}
