import QwenFormats
import QwenText

/// Tokenizers of the tiny models, for tests of chats.
enum ChatVocabulary {
  private static let fixtures = "Tests/Fixtures/tiny/"

  /// Control tokens, `<tool_call>` and `<think>` with their ends; no `<tool_response>`.
  static let qwen3 = Result { try RealVocabularies.open(path("qwen3")) }
  /// Control tokens only.
  static let qwen2 = Result { try RealVocabularies.open(path("qwen2-tied")) }
  /// The first generation, with its 208 special tokens.
  static let qwen = Result { try RealVocabularies.open(path("qwen-ntk")) }

  private static func path(_ name: String) -> String {
    let file = #filePath
    let root = file.prefix(file.count - "Tests/QwenTextTests/Chat/ChatVocabulary.swift".count)
    return root + fixtures + name
  }

  /// A tool with every field.
  static func tool(
    _ name: String, human: String? = nil, _ description: String = "Looks things up.",
    parameters: JSONValue = ["type": "object"], format: ToolDescription.ArgumentsFormat = .json
  ) -> ToolDescription {
    ToolDescription(
      name: name, humanName: human ?? name, description: description, parameters: parameters,
      argumentsFormat: format,
      signature: [
        "type": "function",
        "function": [
          "name": .string(name), "description": .string(description), "parameters": parameters,
        ],
      ])
  }
}

/// A small random generator: tests say the same every time.
struct TestRandom {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed &* 2 &+ 1 }

  /// A number from 0 up to, but not including, `limit`.
  mutating func below(_ limit: Int) -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int(state >> 33) % max(1, limit)
  }

  mutating func one<Element>(of elements: [Element]) -> Element { elements[below(elements.count)] }
}
