internal import QwenFormats
internal import QwenModel
internal import QwenTensor

/// A saved session: header, tokens, keys and values, digest. All numbers are little-endian.
///
/// | bytes | what |
/// |---|---|
/// | 8 | `QWENSTAT` |
/// | 4 | version of this layout, 1 |
/// | 4 | n, length of the header |
/// | n | header, a JSON object: model, options, number of tokens |
/// | 4 each | the tokens |
/// | ... | keys and values, as `KVCache.forEachRun` hands them on |
/// | 16 | digest of everything before it |
private enum StateLayout {
  static let magic = Array("QWENSTAT".utf8)
  static let version = 1
  static let headerLimit = 1 << 16
  static let prologue = 16
  static let digest = 16
}

extension Session {
  /// Bytes that `save` writes.
  package var stateSize: Int {
    let shape = conversation.sequence.cache.shape
    return StateLayout.prologue + stateHeader.count + tokens.count * 4
      + (KVCache.runBytes(shape, positions: tokens.count) ?? 0) + StateLayout.digest
  }

  /// Writes everything evaluated, block by block.
  package func save<E: Error>(_ write: (UnsafeRawBufferPointer) throws(E) -> Void) throws(E) {
    var digest = Digest()
    func put(_ bytes: UnsafeRawBufferPointer) throws(E) {
      unsafe digest.add(bytes)
      try unsafe write(bytes)
    }
    func put(_ bytes: [UInt8]) throws(E) {
      try unsafe bytes.span.withUnsafeBytes { (bytes) throws(E) in try unsafe put(bytes) }
    }
    let header = stateHeader
    try put(
      StateLayout.magic + littleEndian(UInt32(StateLayout.version))
        + littleEndian(UInt32(header.count)))
    try put(header)
    try put(tokens.flatMap { littleEndian(UInt32(bitPattern: $0)) })
    try unsafe conversation.sequence.cache.forEachRun { (run) throws(E) in try unsafe put(run) }
    let (a, b) = digest.value
    let end = littleEndian(a) + littleEndian(b)
    try unsafe end.span.withUnsafeBytes { (bytes) throws(E) in try unsafe write(bytes) }
  }

  /// Saves to a file, as a whole or not at all.
  package func save(to path: String) throws(EngineError) {
    do {
      let file = try OutputFile(path: path, replaces: true, isPrivate: true)
      try unsafe save { (bytes) throws(FormatError) in try unsafe file.write(bytes) }
      try file.commit()
    } catch { throw EngineError(error) }
  }

  private var stateHeader: [UInt8] {
    let header: JSONObject = [
      "library": .string(libraryVersion), "model": .string(model.fingerprint),
      "model_path": .string(model.path), "kv_cache": .string(settings.element.rawValue),
      "compute": .string(model.settings.computeName),
      "positions": .string(settings.positionDigest),
      "alpha": .number(conversation.sequence.plan?.alpha ?? 1), "tokens": .integer(tokens.count),
    ]
    return Array(JSONValue.object(header).serialized().utf8)
  }

  /// Loads from a file.
  package func load(from path: String) throws(EngineError) {
    do {
      let file = try SystemFile(path: path)
      var position = 0
      try unsafe load(path: path, size: file.count) { (target) throws(FormatError) in
        try unsafe file.read(into: target, at: position)
        position += target.count
      }
    } catch let error as EngineError {
      throw error
    } catch let error as FormatError {
      throw EngineError(error)
    } catch { throw EngineError(.internal, "\(error)") }
  }

  /// Loads from memory.
  package func load(from bytes: UnsafeRawBufferPointer) throws(EngineError) {
    var position = 0
    do {
      try unsafe load(path: "", size: bytes.count) { target in
        // `load` asks for no more than `size` bytes.
        unsafe target.copyMemory(
          from: UnsafeRawBufferPointer(
            rebasing: bytes[position..<min(bytes.count, position + target.count)]))
        position += target.count
      }
    } catch let error as EngineError {
      throw error
    } catch let error as FormatError {
      throw EngineError(error)
    } catch { throw EngineError(.internal, "\(error)") }
  }

  /// Reads a state of `size` bytes and, if all of it is sound, takes it over.
  private func load(
    path: String, size: Int, _ read: (UnsafeMutableRawBufferPointer) throws(FormatError) -> Void
  ) throws {
    var digest = Digest()
    func take(_ count: Int) throws -> [UInt8] {
      var bytes = [UInt8](repeating: 0, count: count)
      try unsafe bytes.withUnsafeMutableBytes { bytes in
        try unsafe read(bytes)
        unsafe digest.add(UnsafeRawBufferPointer(bytes))
      }
      return bytes
    }
    func malformed(_ message: String) -> FormatError {
      FormatError(
        .malformed, path: path, message, hint: "save the session again; this state is of no use")
    }
    guard size >= StateLayout.prologue + StateLayout.digest else {
      throw malformed("is too short for a saved session")
    }
    let prologue = try take(StateLayout.prologue)
    guard Array(prologue[..<8]) == StateLayout.magic else {
      throw malformed("is not a saved session")
    }
    guard number(prologue[8..<12]) == StateLayout.version else {
      throw FormatError(
        .unsupported, path: path, "was saved in layout \(number(prologue[8..<12]))",
        hint: "this library reads layout \(StateLayout.version)")
    }
    let length = number(prologue[12..<16])
    guard length <= min(StateLayout.headerLimit, size - StateLayout.prologue - StateLayout.digest)
    else { throw malformed("has a header of \(length) bytes") }
    let header: JSONValue
    do {
      header = try JSONValue(parsing: take(length))
    } catch let error as FormatError {
      throw malformed("has a header that is no JSON: \(error.message)")
    }
    let count = try check(header, path: path)
    let shape = conversation.sequence.cache.shape
    guard let runs = KVCache.runBytes(shape, positions: count),
      size == StateLayout.prologue + length + count * 4 + runs + StateLayout.digest
    else { throw malformed("has \(size) bytes, which \(count) tokens do not make") }

    let raw = try take(count * 4)
    let rows = settings.configuration.vocabularyRows
    let ids = (0..<count).map { Int32(truncatingIfNeeded: number(raw[$0 * 4..<$0 * 4 + 4])) }
    guard ids.allSatisfy({ $0 >= 0 && Int($0) < rows }) else {
      throw malformed("has tokens outside the vocabulary")
    }
    let fresh = try Conversation(settings)
    var failure: FormatError?
    do throws(TensorError) {
      try unsafe fresh.sequence.cache.fill(positions: count) { (run) throws(TensorError) in
        do throws(FormatError) {
          try unsafe read(run)
        } catch {
          failure = error
          throw TensorError.cancelled
        }
        unsafe digest.add(UnsafeRawBufferPointer(run))
      }
    } catch {
      if let failure { throw failure }
      throw EngineError(error)
    }
    let (a, b) = digest.value
    var stored = [UInt8](repeating: 0, count: StateLayout.digest)
    try unsafe stored.withUnsafeMutableBytes { bytes in try unsafe read(bytes) }
    guard stored == littleEndian(a) + littleEndian(b) else {
      throw malformed("is damaged: its digest is not that of its bytes")
    }
    let plan = settings.configuration.rotaryPlan(alpha: header["alpha"]?.double ?? 1)
    try conversation.restore(
      Conversation.Snapshot(
        sequence: Sequence.Snapshot(
          cache: fresh.sequence.cache.snapshot, plan: count > 0 ? plan : nil), tokens: ids))
  }

  /// Refuses the state of another model, of other options, or of more tokens than fit. Returns their number.
  private func check(_ header: JSONValue, path: String) throws -> Int {
    func other(_ what: String, _ hint: String) -> FormatError {
      FormatError(.unsupported, path: path, "was saved \(what)", hint: hint)
    }
    guard header["model"]?.string == model.fingerprint else {
      let name = header["model_path"]?.string ?? "?"
      throw other(
        "with another model, \"\(escaped(name))\"", "open a session of that model to load it")
    }
    let asked: [(key: String, mine: String)] = [
      ("kv_cache", settings.element.rawValue), ("compute", model.settings.computeName),
      ("positions", settings.positionDigest),
    ]
    for (key, mine) in asked where header[key]?.string != mine {
      let theirs = escaped(header[key]?.string ?? "?")
      throw key == "positions"
        ? other("with other options for long contexts", "open the session with the same options")
        : other("with \"\(key)\": \"\(theirs)\"", "open with the same; here it is \"\(mine)\"")
    }
    guard let count = header["tokens"]?.int, count >= 0,
      let alpha = header["alpha"]?.double, alpha.isFinite, alpha >= 1, alpha <= 1e9
    else { throw FormatError(.malformed, path: path, "has a header without a number of tokens") }
    guard count <= settings.context else {
      throw EngineError(
        .context, "the state has \(count) tokens, the context \(settings.context)",
        hint: "open the session with a larger \"context\"")
    }
    return count
  }
}

extension ConversationSettings {
  /// Digest of what positions mean: sizes, angles, windows, with a session's wishes.
  var positionDigest: String {
    var digest = Digest()
    digest.add(configuration)
    return digest.text
  }
}

extension OpenSettings {
  /// How products are computed.
  var computeName: String {
    if usesOpenBLAS { return "openblas" }
    if isExact { return "float32" }
    let name = roundsToBFloat ? "bfloat16" : "auto"
    return sharesOutliers ? name + ", outliers of steps" : name
  }
}

private func littleEndian<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
  (0..<T.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
}

private func number(_ bytes: ArraySlice<UInt8>) -> Int {
  bytes.reversed().reduce(0) { $0 << 8 | Int($1) }
}
