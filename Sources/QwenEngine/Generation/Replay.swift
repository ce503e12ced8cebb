internal import QwenFormats
internal import QwenTensor

/// What a result carries so that the same answer can be had again: library, model, instruction set, the options of
/// opening model and session, and the request with every default filled in.
enum Replay {
  static func record(
    _ model: Model, _ settings: ConversationSettings, _ request: Request, seed: UInt64?
  ) -> JSONObject {
    var filled = request.source
    for (key, value) in request.options.filled.entries { filled[key] = value }
    if let seed { filled["seed"] = .integer(Int(clamping: seed)) }
    var session = settings.options
    session["context"] = .integer(settings.context)
    session["kv_cache"] = .string(settings.element.rawValue)
    return [
      "library": .string(libraryVersion), "model": .string(model.fingerprint),
      "instruction_set": .string(WorkerPool.instructionSet),
      "open": .object(model.settings.given), "session": .object(session),
      "request": .object(filled),
    ]
  }
}
