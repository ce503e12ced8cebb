/// What an id of the vocabulary stands for.
package enum TokenKind: UInt8, Sendable {
  /// No text: a hole, or a filler such as `[PAD151900]`.
  case unused
  /// Ordinary text.
  case normal
  /// Ordinary text that no merge can make, since its name is outside the byte alphabet.
  case literal
  /// Made only from its exact text and only when special text is allowed; shown to the reader.
  /// `<think>` and `<tool_call>` are such (`"special": false` in Hugging Face files).
  case added
  /// Made as `added` is, and hidden by `skipSpecial`: `<|im_start|>`, `<|endoftext|>`.
  case control
}
