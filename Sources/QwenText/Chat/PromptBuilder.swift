/// Puts a prompt together from control tokens, markers and text, so that no text can make a control token.
///
/// Text between two tokens is encoded as one, as if it had been cut out of the whole prompt at its special
/// tokens; `cut` ends such a stretch early.
struct PromptBuilder {
  private let tokenizer: Tokenizer
  private let markers: [Marker: Int32]
  private var done: [Int32] = []
  private var stretch = ""

  init(_ tokenizer: Tokenizer, markers: [Marker: Int32]) {
    self.tokenizer = tokenizer
    self.markers = markers
  }

  /// A control token.
  mutating func control(_ id: Int32) throws(TokenizerError) {
    try cut()
    done.append(id)
  }

  /// A part of a block.
  mutating func append(_ part: ChatBlock.Part) throws(TokenizerError) {
    switch part {
    case .text(let text): stretch += text
    case .marker(let marker):
      if let id = markers[marker] { try control(id) } else { stretch += marker.rawValue }
    }
  }

  /// Text, whose control-like parts stay text.
  mutating func text(_ text: String) { stretch += text }

  /// Encodes what stands here apart from what follows.
  mutating func cut() throws(TokenizerError) {
    if stretch.isEmpty { return }
    done += try tokenizer.encodeOrdinary(stretch)
    stretch = ""
  }

  /// The ids so far.
  mutating func ids() throws(TokenizerError) -> [Int32] {
    try cut()
    return done
  }
}

/// What stands between one `<|im_start|>` and its `<|im_end|>`.
struct ChatBlock: Equatable {
  /// Scaffold may be a marker; everything that a request says is text.
  enum Part: Equatable {
    case text(String)
    case marker(Marker)
  }

  var role: ChatMessage.Role
  var parts: [Part]
  /// Whether a turn begins here: the user speaks.
  var startsTurn = false
  /// Whether the block is the last one and goes on with the answer.
  var isOpen = false

  /// Its text without markers.
  var text: String {
    parts.reduce(into: "") { text, part in
      if case .text(let piece) = part { text += piece }
    }
  }

  init(_ role: ChatMessage.Role, _ parts: [Part], startsTurn: Bool = false) {
    self.role = role
    self.parts = parts
    self.startsTurn = startsTurn
  }

  init(_ role: ChatMessage.Role, _ text: String, startsTurn: Bool = false) {
    self.init(role, [.text(text)], startsTurn: startsTurn)
  }
}
