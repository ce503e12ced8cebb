public import CQwen
internal import Glibc
internal import QwenEngine
internal import QwenFormats

@c @implementation
public func qwen_version() -> UnsafePointer<CChar>? { unsafe staticText("0.1.0") }

@c @implementation
public func qwen_abi_version() -> Int32 { abiVersion }

/// Version of the interface.
let abiVersion: Int32 = 2

@c @implementation
public func qwen_status_name(_ status: qwen_status) -> UnsafePointer<CChar>? {
  let name = statusNames.first { $0.status == Int(status) }?.name ?? "QWEN_UNKNOWN"
  return unsafe staticText(name)
}

@c @implementation
public func qwen_last_error() -> UnsafePointer<CChar>? {
  unsafe LastError.sentence ?? staticText("")
}

@c @implementation
public func qwen_last_error_json() -> UnsafePointer<CChar>? {
  unsafe LastError.json ?? staticText("{}")
}

@c @implementation
public func qwen_string_free(_ text: UnsafeMutablePointer<CChar>?) { unsafe free(text) }

@c @implementation
public func qwen_set_log(
  _ callback: qwen_log_callback?, _ user: UnsafeMutableRawPointer?, _ level: Int32
) { unsafe Log.set(callback, user, level) }

@c @implementation
public func qwen_describe(
  _ what: UnsafePointer<CChar>?, _ out_json: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
) -> qwen_status {
  unsafe out_json?.pointee = nil
  return call { () throws(CallError) in
    guard unsafe out_json != nil else { throw CallError(QWEN_ERROR_ARGUMENT, "out_json is NULL") }
    let name = try unsafe text(what, -1, "what")
    guard let value = description(name) else {
      throw CallError(
        QWEN_ERROR_ARGUMENT, "nothing is known of \"\(escaped(name))\"",
        hint:
          "there are \"build\", \"cpu\", \"formats\", \"models\", \"options\", \"errors\", \"metrics\""
      )
    }
    try unsafe give(value.serialized(), out_json)
  }
}

private func description(_ what: String) -> JSONValue? {
  switch what {
  case "metrics": return Metrics.description
  case "options": return OptionTable.describe()
  case "errors":
    let list = statusNames.map { entry -> JSONValue in
      ["status": .integer(entry.status), "name": .string("\(entry.name)")]
    }
    return ["errors": .array(list)]
  case "build", "cpu", "formats", "models": return BuildFacts.describe(what)
  default: return nil
  }
}

/// Text in the image itself: lives as long as the process.
private func staticText(_ text: StaticString) -> UnsafePointer<CChar> {
  unsafe UnsafeRawPointer(text.utf8Start).assumingMemoryBound(to: CChar.self)
}
