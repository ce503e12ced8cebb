import Glibc
import QwenFormats
import QwenText
import Testing

/// Real vocabularies, found through the environment; tests that need one are skipped without it.
enum RealVocabularies {
  /// Value of an environment variable, nil if it is unset or empty.
  static func path(_ variable: String) -> String? {
    guard let value = unsafe getenv(variable) else { return nil }
    let text = unsafe String(cString: value)
    return text.isEmpty ? nil : text
  }

  static let qwenPath = path("LIBQWEN_TIKTOKEN")
  static let smollm2Path = path("LIBQWEN_SMOLLM2")
  static let casesPath = path("LIBQWEN_TOKENIZER_CASES")

  static let hasQwen: ConditionTrait =
    .enabled(if: qwenPath != nil, "set LIBQWEN_TIKTOKEN to the path of qwen.tiktoken")
  static let hasSmolLM2: ConditionTrait =
    .enabled(if: smollm2Path != nil, "set LIBQWEN_SMOLLM2 to the path of SmolLM2's GGUF file")
  static let hasCases: ConditionTrait = .enabled(
    if: casesPath != nil,
    "set LIBQWEN_TOKENIZER_CASES to what Tests/Tools/tokenizer_cases.py write made")

  /// Read once for all tests.
  static let qwen = Result { try tiktoken(qwenPath ?? "") }
  static let smollm2 = Result { try gguf(smollm2Path ?? "") }

  static func tiktoken(_ path: String) throws -> Tokenizer {
    let file = try FileBytes(path: path, mode: .copy)
    return try Tokenizer.tiktoken(file.all.array().span, name: path)
  }

  static func gguf(_ path: String) throws -> Tokenizer {
    let file = try FileBytes(path: path, mode: .map)
    return try Tokenizer.gguf(GGUFFile(file) { _ in nil })
  }

  /// A folder with tokenizer files, or with a link to a GGUF file.
  static func open(_ path: String) throws -> Tokenizer {
    let folder = Folder(path: path)
    if folder.has("model.gguf") { return try gguf(folder.path("model.gguf")) }
    return try Tokenizer.folder(folder).get()
  }
}
