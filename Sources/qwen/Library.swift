import CQwen
import Glibc

/// Runs `body`, which fills a `char *`, and takes the text over from the library.
func takeText(
  _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> qwen_status
) throws(Failure) -> String {
  var out: UnsafeMutablePointer<CChar>?
  try check(body(&out))
  guard let out else { return "" }
  defer { qwen_string_free(out) }
  return String(cString: out)
}

/// A JSON answer of the library, read.
func readAnswer(_ text: String) throws(Failure) -> JSON {
  guard let value = JSON(parsing: text) else {
    throw .general("the library answered with text that is not JSON")
  }
  return value
}

/// An open model; closed at the end of its owner's scope.
struct Model: ~Copyable {
  let handle: qwen_model
  /// How long `qwen_model_open` took.
  let loadSeconds: Double

  /// Opens `path` with the options of section "open"; on a terminal stderr shows how far it is.
  init(path: UnsafePointer<CChar>, options: JSON) throws(Failure) {
    var out: qwen_model?
    let start = monotonicSeconds()
    let status = qwen_model_open(&out, path, options.text, showLoading, nil)
    loadSeconds = monotonicSeconds() - start
    Terminal.clearProgress()
    try check(status)
    guard let out else { throw .general("the library opened no model") }
    handle = out
  }

  deinit { qwen_model_close(handle) }

  func info() throws(Failure) -> String {
    try takeText { qwen_model_info(handle, $0) }
  }

  /// Token ids of `text`; `special` is "none" or "all".
  func tokenize(_ text: [UInt8], special: String = "none") throws(Failure) -> [Int32] {
    let options = JSON.object([("special", .string(special))]).text
    var status = qwen_status(QWEN_OK)
    var ids: [Int32] = []
    text.withUnsafeBytes { bytes in
      // A length of zero needs an address all the same.
      let base = bytes.baseAddress?.assumingMemoryBound(to: CChar.self)
      "".withCString { empty in
        var count = 0
        status = qwen_tokenize(handle, base ?? empty, bytes.count, options, nil, 0, &count)
        guard status == qwen_status(QWEN_OK), count > 0 else { return }
        ids = [Int32](repeating: 0, count: count)
        status = qwen_tokenize(handle, base ?? empty, bytes.count, options, &ids, count, &count)
      }
    }
    try check(status)
    return ids
  }

  /// The bytes of one token, which need not be UTF-8 by themselves.
  func bytes(of id: Int32) throws(Failure) -> [UInt8] {
    let options = #"{"errors":"bytes"}"#
    var count = 0
    try check(withUnsafePointer(to: id) { qwen_detokenize(handle, $0, 1, options, nil, 0, &count) })
    var text = [CChar](repeating: 0, count: count + 1)
    try check(
      withUnsafePointer(to: id) {
        qwen_detokenize(handle, $0, 1, options, &text, text.count, &count)
      })
    return text[..<min(count, text.count)].map { UInt8(bitPattern: $0) }
  }
}

/// `qwen_progress_callback`: a percentage on a terminal.
private func showLoading(
  stage: UnsafePointer<CChar>?, fraction: Double, user: UnsafeMutableRawPointer?
) -> Int32 {
  let name = stage.map { String(cString: $0) } ?? ""
  Terminal.showProgress("loading \(name) \(decimal(fraction * 100, 0)) %")
  return 0
}

/// An open session; closed at the end of its owner's scope.
struct Session: ~Copyable {
  let handle: qwen_session

  init(model: borrowing Model, options: JSON) throws(Failure) {
    var out: qwen_session?
    try check(qwen_session_open(&out, model.handle, options.text))
    guard let out else { throw .general("the library opened no session") }
    handle = out
  }

  deinit { qwen_session_close(handle) }

  func reset() throws(Failure) { try check(qwen_session_reset(handle)) }

  func info() throws(Failure) -> JSON {
    try readAnswer(try takeText { qwen_session_info(handle, $0) })
  }

  /// Continues `prompt`; each piece goes to `printer` as it comes.
  func generate(
    _ prompt: [UInt8], options: JSON, printer: Printer
  ) throws(Failure) -> JSON {
    let text = try takeText { out in
      prompt.withUnsafeBytes { bytes in
        "".withCString { empty in
          qwen_generate(
            handle, bytes.baseAddress?.assumingMemoryBound(to: CChar.self) ?? empty, bytes.count,
            options.text, forwardEvent, printer.reference, out)
        }
      }
    }
    return try readAnswer(text)
  }

  /// Answers a chat request; each piece goes to `printer` as it comes.
  func chat(_ request: JSON, printer: Printer) throws(Failure) -> JSON {
    try readAnswer(
      try takeText { qwen_chat(handle, request.text, forwardEvent, printer.reference, $0) })
  }

  /// Logits after each of `ids` from place `first` on, one row after the other at the front of `rows`.
  func logits(
    _ ids: ArraySlice<Int32>, from first: Int, into rows: inout [Float]
  ) throws(Failure) {
    var written = 0
    let status = ids.withUnsafeBufferPointer { ids in
      rows.withUnsafeMutableBufferPointer {
        qwen_logits(handle, ids.baseAddress, ids.count, first, $0.baseAddress, $0.count, &written)
      }
    }
    try check(status)
  }

  /// Natural-log probability of each token but the first.
  func score(_ ids: ArraySlice<Int32>) throws(Failure) -> [Float] {
    var values = [Float](repeating: 0, count: max(0, ids.count - 1))
    var written = 0
    let status = ids.withUnsafeBufferPointer {
      qwen_score(handle, $0.baseAddress, $0.count, &values, values.count, &written)
    }
    try check(status)
    return values
  }
}

/// Where the pieces of an answer go while it is being made.
final class Printer {
  /// Whether pieces are written to standard output at once.
  let isStreaming: Bool
  private(set) var endsWithLineFeed = true
  private(set) var hasWritten = false
  private var showsProgress = false

  init(isStreaming: Bool) { self.isStreaming = isStreaming }

  /// Valid for a call during which the caller keeps the printer alive.
  fileprivate var reference: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

  fileprivate func receive(_ event: qwen_event) {
    switch Int(event.kind) {
    case Int(QWEN_EVENT_PROGRESS):
      // A short prompt needs no percentage.
      if event.fraction < 1, isStreaming, Terminal.errorIsTerminal {
        showsProgress = true
        Terminal.writeError("\u{1B}7 (reading \(decimal(event.fraction * 100, 0)) %)\u{1B}8")
      } else {
        clearProgress()
      }
    case Int(QWEN_EVENT_TEXT):
      clearProgress()
      guard isStreaming, event.length > 0 else { return }
      let bytes = UnsafeRawBufferPointer(start: event.text, count: event.length)
      Terminal.write(bytes, to: 1)
      endsWithLineFeed = bytes.last == 0x0A
      hasWritten = true
    default: break
    }
  }

  private func clearProgress() {
    if showsProgress { Terminal.writeError("\u{1B}[K") }
    showsProgress = false
  }
}

/// `qwen_event_callback`: hands the event to the printer; an interrupted run is undone.
private func forwardEvent(event: UnsafePointer<qwen_event>?, user: UnsafeMutableRawPointer?)
  -> Int32
{
  guard let event, let user else { return Int32(QWEN_CONTINUE) }
  Unmanaged<Printer>.fromOpaque(user).takeUnretainedValue().receive(event.pointee)
  return Int32(Interrupt.isPending ? QWEN_CANCEL : QWEN_CONTINUE)
}
