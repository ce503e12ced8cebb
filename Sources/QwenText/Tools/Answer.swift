internal import QwenFormats

/// What a piece of an answer belongs to.
package enum AnswerPiece: Sendable, Equatable {
  case content(String)
  case reasoning(String)
  /// A call begins; one with an index that was there before takes its place (ReAct, where the last counts).
  case call(index: Int, id: String, name: String)
  /// A piece of the text of a call's arguments.
  case arguments(index: Int, text: String)
}

/// An answer taken apart.
package struct Answer: Sendable, Equatable {
  package var content = ""
  /// nil if there was none.
  package var reasoning: String?
  package var calls: [ToolCall] = []

  package init() {}

  /// Adds a piece.
  package mutating func append(_ piece: AnswerPiece) {
    switch piece {
    case .content(let text): content += text
    case .reasoning(let text): reasoning = (reasoning ?? "") + text
    case .call(let index, let id, let name):
      calls.removeLast(max(0, calls.count - index))
      calls.append(ToolCall(id: id, name: name, argumentsText: ""))
    case .arguments(let index, let text):
      if calls.indices.contains(index) { calls[index].argumentsText += text }
    }
  }
}

extension ToolCall {
  /// The arguments as a value: an object where they can be read as one; of no text at all an empty one.
  ///
  /// A string that holds an object is that object. Code in a fence stays text and is nil here.
  package func readArguments() -> LenientJSON.Reading? {
    if argumentsText.strippingSpace().isEmpty {
      return LenientJSON.Reading(value: .object(JSONObject()), isRepaired: true, isCut: false)
    }
    guard let reading = LenientJSON.read(argumentsText) else { return nil }
    if let text = reading.value.string, let inner = LenientJSON.read(text),
      inner.value.object != nil
    {
      return LenientJSON.Reading(value: inner.value, isRepaired: true, isCut: inner.isCut)
    }
    return reading.value.object == nil ? nil : reading
  }
}
