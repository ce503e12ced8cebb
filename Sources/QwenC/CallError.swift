internal import CQwen
internal import QwenEngine
internal import QwenFormats

/// A failure on its way out of the library: a status and everything the last error says.
struct CallError: Error {
  var status: qwen_status
  var message: String
  var path: String?
  var offset: Int?
  var key: String?
  var hint: String?

  init(_ status: Int, _ message: String, hint: String? = nil) {
    self.status = qwen_status(truncatingIfNeeded: status)
    self.message = message
    self.hint = hint
  }

  init(_ error: EngineError) {
    self.init(CallError.status(error.kind), error.sentence)
    (path, offset, key, hint) = (error.path, error.offset, error.key, error.hint)
  }

  /// The last error as JSON.
  var json: String {
    var object: JSONObject = [
      "status": .integer(Int(status)), "name": .string(statusName(status)),
      "message": .string(message),
    ]
    if let path { object["path"] = .string(path) }
    if let offset { object["offset"] = .integer(offset) }
    if let key { object["key"] = .string(key) }
    if let hint { object["hint"] = .string(hint) }
    return JSONValue.object(object).serialized()
  }

  private static func status(_ kind: EngineError.Kind) -> Int {
    switch kind {
    case .argument: QWEN_ERROR_ARGUMENT
    case .memory: QWEN_ERROR_MEMORY
    case .io: QWEN_ERROR_IO
    case .format: QWEN_ERROR_FORMAT
    case .unsupported: QWEN_ERROR_UNSUPPORTED
    case .limit: QWEN_ERROR_LIMIT
    case .context: QWEN_ERROR_CONTEXT
    case .cancelled: QWEN_ERROR_CANCELLED
    case .busy: QWEN_ERROR_BUSY
    case .numeric: QWEN_ERROR_NUMERIC
    case .option: QWEN_ERROR_OPTION
    case .deadline: QWEN_ERROR_DEADLINE
    case .internal: QWEN_ERROR_INTERNAL
    }
  }
}

/// Every status with its name, in the header's order.
let statusNames: [(status: Int, name: StaticString)] = [
  (QWEN_OK, "QWEN_OK"), (QWEN_PENDING, "QWEN_PENDING"), (QWEN_DONE, "QWEN_DONE"),
  (QWEN_ERROR_ARGUMENT, "QWEN_ERROR_ARGUMENT"), (QWEN_ERROR_HANDLE, "QWEN_ERROR_HANDLE"),
  (QWEN_ERROR_MEMORY, "QWEN_ERROR_MEMORY"), (QWEN_ERROR_IO, "QWEN_ERROR_IO"),
  (QWEN_ERROR_FORMAT, "QWEN_ERROR_FORMAT"),
  (QWEN_ERROR_UNSUPPORTED, "QWEN_ERROR_UNSUPPORTED"), (QWEN_ERROR_LIMIT, "QWEN_ERROR_LIMIT"),
  (QWEN_ERROR_CONTEXT, "QWEN_ERROR_CONTEXT"), (QWEN_ERROR_CANCELLED, "QWEN_ERROR_CANCELLED"),
  (QWEN_ERROR_BUSY, "QWEN_ERROR_BUSY"), (QWEN_ERROR_NUMERIC, "QWEN_ERROR_NUMERIC"),
  (QWEN_ERROR_BUFFER, "QWEN_ERROR_BUFFER"), (QWEN_ERROR_OPTION, "QWEN_ERROR_OPTION"),
  (QWEN_ERROR_DEADLINE, "QWEN_ERROR_DEADLINE"), (QWEN_ERROR_FORKED, "QWEN_ERROR_FORKED"),
  (QWEN_ERROR_INTERNAL, "QWEN_ERROR_INTERNAL"),
]

/// The name of a status.
func statusName(_ status: qwen_status) -> String {
  statusNames.first { $0.status == Int(status) }.map { "\($0.name)" } ?? "QWEN_UNKNOWN"
}
