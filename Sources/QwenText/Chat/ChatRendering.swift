/// A prompt and how its answer begins.
package struct RenderedChat: Sendable {
  package var ids: [Int32]
  package var opening: AnswerOpening
}

/// What an answer begins with, as far as the prompt has written it already.
package struct AnswerOpening: Sendable, Equatable {
  /// Where the answer starts with regard to reasoning.
  package enum Reasoning: Sendable {
    /// It has none, or it is over.
    case never
    /// The model may begin with it.
    case possible
    /// The prompt has opened it.
    case open
  }

  package var reasoning = Reasoning.never
  /// How calls are written; nil if the answer is not searched for them.
  package var syntax: ToolSyntax?
  /// Whether ReAct's "Thought:" stands before the answer.
  package var isThought = false
  /// The beginning of a call that the prompt forces; not yet part of any answer.
  var forced: [ChatBlock.Part] = []
  /// Calls in the conversation so far.
  package var earlierCalls = 0
  /// Of ReAct: the assistant's text that the answer goes on with.
  package var begun = ""
}

extension ChatFormat {
  /// The prompt of a conversation: control ids from the format, everything else encoded as ordinary text, so
  /// that no content can make a control token.
  ///
  /// Ends with the opening of the assistant's turn, or inside its last message. Turns that do not fit the
  /// window are left out, oldest first; the system message and what follows the last user message always stay.
  package func render(
    _ messages: [ChatMessage], _ tokenizer: Tokenizer, options: ChatOptions = ChatOptions()
  ) throws(TokenizerError) -> RenderedChat {
    let syntax = options.syntax ?? toolSyntax ?? .hermes
    let usesReAct =
      syntax == .react
      && (!options.shownTools.isEmpty
        || messages.contains { $0.role == .tool || !$0.calls.isEmpty })
    var opening = opening(messages, options, usesReAct: usesReAct)
    opening.syntax = options.shownTools.isEmpty ? nil : syntax

    let system = systemBlock(messages.first, options, syntax)
    let prefix = try ids([system].compactMap(\.self), tokenizer, isFirst: true)
    let rest = messages.first?.role == .system ? messages.dropFirst() : messages[...]
    var blocks: [ChatBlock] = []
    var count = rest.count
    while true {
      // ReAct's description of tools stands in one of the turns that are kept, so dropping some may move it.
      let folded =
        usesReAct
        ? reactBlocks(Array(rest.suffix(count)), options)
        : hermesBlocks(Array(rest.suffix(count)), options)
      blocks = folded + answerBlock(folded, opening, options)
      if usesReAct { opening.begun = blocks.last?.text ?? "" }
      let turns = try turns(blocks, tokenizer, isFirst: system == nil)
      let kept = window(turns, system: prefix.count, options.maximumWindow)
      let current = turns.last ?? []
      guard usesReAct, kept.count < turns.count - 1 else {
        return RenderedChat(ids: prefix + kept.joined() + current, opening: opening)
      }
      let next = messageCount(rest.suffix(count), turns: kept.count + 1)
      guard next < count else {
        return RenderedChat(ids: prefix + kept.joined() + current, opening: opening)
      }
      count = next
    }
  }

  /// The first block: the given or the default system text, with the tools of `<tools>`.
  private func systemBlock(
    _ first: ChatMessage?, _ options: ChatOptions, _ syntax: ToolSyntax
  ) -> ChatBlock? {
    let text = first?.role == .system ? first?.content : defaultSystem
    guard syntax == .hermes, !options.shownTools.isEmpty else {
      return text.map { ChatBlock(.system, $0) }
    }
    let own = text ?? (dialect == .qwq ? "" : nil)
    let lead: [ChatBlock.Part] = own.map { [.text($0 + "\n\n")] } ?? []
    return ChatBlock(.system, lead + HermesPrompt.description(options.shownTools))
  }

  /// How the answer begins.
  private func opening(
    _ messages: [ChatMessage], _ options: ChatOptions, usesReAct: Bool
  ) -> AnswerOpening {
    var opening = AnswerOpening()
    opening.earlierCalls = messages.reduce(0) { $0 + $1.calls.count }
    if options.continuesFinal { return opening }
    let isResult = messages.last?.role == .tool
    opening.forced =
      usesReAct ? ReActPrompt.forced(options.choice) : HermesPrompt.forced(options.choice)
    guard opening.forced.isEmpty else { return opening }
    opening.isThought = usesReAct && isResult
    if reasons, !opening.isThought {
      opening.reasoning =
        opensReasoning ? .open : options.thinking == false ? .never : .possible
    }
    return opening
  }

  /// The open block in which the answer is written, unless the last block of `folded` is open already.
  private func answerBlock(
    _ folded: [ChatBlock], _ opening: AnswerOpening, _ options: ChatOptions
  ) -> [ChatBlock] {
    if folded.last?.isOpen == true { return [] }
    var parts: [ChatBlock.Part] = []
    if opensReasoning, opening.forced.isEmpty {
      parts = [.marker(.think), .text("\n")]
    } else if opensReasoning || dialect == .qwen3 && closesReasoning(opening, options) {
      parts = [.marker(.think), .text("\n\n"), .marker(.endThink), .text("\n\n")]
    }
    var block = ChatBlock(.assistant, parts + opening.forced)
    block.isOpen = true
    return [block]
  }

  private func closesReasoning(_ opening: AnswerOpening, _ options: ChatOptions) -> Bool {
    options.thinking == false || !opening.forced.isEmpty
  }

  /// The ids of each turn: a user's block and what follows it up to the next.
  private func turns(
    _ blocks: [ChatBlock], _ tokenizer: Tokenizer, isFirst: Bool
  ) throws(TokenizerError) -> [[Int32]] {
    var turns: [[ChatBlock]] = []
    for block in blocks {
      if block.startsTurn || turns.isEmpty { turns.append([]) }
      turns[turns.count - 1].append(block)
    }
    var ids: [[Int32]] = []
    for (index, turn) in turns.enumerated() {
      ids.append(try self.ids(turn, tokenizer, isFirst: isFirst && index == 0))
    }
    return ids
  }

  /// The newest turns before the last that fit: one is kept while system, it and the kept ones stay below
  /// the window. The last turn is not counted.
  private func window(_ turns: [[Int32]], system: Int, _ maximum: Int?) -> [[Int32]] {
    let earlier = turns.dropLast()
    guard let maximum else { return Array(earlier) }
    var kept: [[Int32]] = []
    var used = system
    for turn in earlier.reversed() {
      guard used + turn.count < maximum else { break }
      used += turn.count
      kept.append(turn)
    }
    return kept.reversed()
  }

  /// How many of the last messages make so many turns.
  private func messageCount(_ messages: ArraySlice<ChatMessage>, turns: Int) -> Int {
    let starts = messages.indices.filter { messages[$0].role == .user }
    guard turns <= starts.count, turns > 0 else { return messages.count }
    return messages.endIndex - starts[starts.count - turns]
  }

  /// The blocks as ids. `isFirst` says that nothing stands before them.
  private func ids(
    _ blocks: [ChatBlock], _ tokenizer: Tokenizer, isFirst: Bool
  ) throws(TokenizerError) -> [Int32] {
    var prompt = PromptBuilder(tokenizer, markers: markers)
    for (index, block) in blocks.enumerated() {
      if dialect == .qwen {
        try appendApart(block, to: &prompt, isFirst: isFirst && index == 0)
      } else {
        try prompt.control(start)
        prompt.text(block.role.rawValue + "\n")
        for part in block.parts { try prompt.append(part) }
        if block.isOpen { continue }
        try prompt.control(end)
        prompt.text("\n")
      }
    }
    return try prompt.ids()
  }

  /// A block of the first generation: the line feed stands before each block but the first, and role, line
  /// feed and content are encoded apart.
  private func appendApart(
    _ block: ChatBlock, to prompt: inout PromptBuilder, isFirst: Bool
  ) throws(TokenizerError) {
    if !isFirst { prompt.text("\n") }
    try prompt.control(start)
    prompt.text(block.role.rawValue)
    try prompt.cut()
    prompt.text("\n")
    try prompt.cut()
    for part in block.parts { try prompt.append(part) }
    try prompt.cut()
    if !block.isOpen { try prompt.control(end) }
  }
}
