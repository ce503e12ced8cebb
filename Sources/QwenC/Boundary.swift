internal import Glibc
internal import CQwen
internal import CQwenShims
internal import QwenEngine
internal import QwenFormats

/// Runs the body of an exported function: errors become a status and the thread's last error.
func call(_ body: () throws(CallError) -> Void) -> qwen_status {
  do throws(CallError) {
    guard qs_reserve_is_low() == 0 else { throw noMemory("this call") }
    try body()
    return qwen_status(QWEN_OK)
  } catch {
    let error = believed(error)
    LastError.set(error)
    Metrics.countFailure(error)
    return error.status
  }
}

/// Where the system refuses memory, a parser that could not go on may blame the text.
private func believed(_ error: CallError) -> CallError {
  let blames = [QWEN_ERROR_FORMAT, QWEN_ERROR_OPTION].contains(Int(error.status))
  return blames && qs_memory_is_there(1 << 20) == 0 ? noMemory("this call") : error
}

private func noMemory(_ what: String) -> CallError {
  CallError(
    QWEN_ERROR_MEMORY, "the system has no memory for \(what)",
    hint: "close what is not needed, or raise the limit of the process")
}

/// Runs engine code at the boundary.
func engine<R>(_ body: () throws(EngineError) -> R) throws(CallError) -> R {
  do { return try body() } catch { throw CallError(error) }
}

/// Bytes that a caller passed: `length` of them, or up to the NUL.
func bytes(
  _ pointer: UnsafePointer<CChar>?, _ length: Int, _ name: String
) throws(CallError) -> [UInt8] {
  guard let pointer = unsafe pointer else {
    if length == 0 { return [] }
    throw CallError(QWEN_ERROR_ARGUMENT, "\(name) is NULL")
  }
  let count = length == -1 ? unsafe Int(strlen(pointer)) : length
  guard count >= 0 else {
    throw CallError(QWEN_ERROR_ARGUMENT, "the length of \(name) is impossible")
  }
  guard count <= textLimit else {
    throw CallError(
      QWEN_ERROR_LIMIT, "\(name) has \(count) bytes, more than \(textLimit)",
      hint: "pass it in parts")
  }
  // Tokens and pieces of a text take several times its size, in arrays that can't fail gently.
  guard count < 1 << 20 || qs_memory_is_there(16 * count) != 0 else {
    throw noMemory("\(name) of \(count) bytes")
  }
  return unsafe Array(UnsafeRawBufferPointer(start: pointer, count: count))
}

/// Most bytes of text that one call takes.
private let textLimit = 1 << 30

/// Text that a caller passed, which must be UTF-8.
func text(
  _ pointer: UnsafePointer<CChar>?, _ length: Int, _ name: String
) throws(CallError) -> String {
  let bytes = try unsafe bytes(pointer, length, name)
  guard let text = String(validating: bytes, as: UTF8.self) else {
    throw CallError(
      QWEN_ERROR_ARGUMENT, "\(name) is not UTF-8", hint: "pass text encoded as UTF-8")
  }
  return text
}

/// Optional NUL-terminated JSON of options.
func optionText(_ pointer: UnsafePointer<CChar>?) throws(CallError) -> String? {
  guard unsafe pointer != nil else { return nil }
  return try unsafe text(pointer, -1, "the options")
}

/// Hands a text to the caller, who frees it.
func give(
  _ value: String, _ out: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
) throws(CallError) {
  guard let out = unsafe out else { return }
  guard let (copy, _) = unsafe copyOut(value) else {
    throw CallError(QWEN_ERROR_MEMORY, "there is no memory for \(value.utf8.count) bytes of text")
  }
  unsafe out.pointee = copy
}

/// Writes `values` into a caller's buffer by the header's buffer protocol.
func write<T>(
  _ values: [T], _ target: UnsafeMutablePointer<T>?, _ capacity: Int,
  _ count: UnsafeMutablePointer<Int>?
) throws(CallError) {
  guard let count = unsafe count else { throw CallError(QWEN_ERROR_ARGUMENT, "count is NULL") }
  unsafe count.pointee = values.count
  if capacity == 0 { return }
  guard capacity >= values.count, capacity > 0 else {
    throw CallError(
      QWEN_ERROR_BUFFER, "the buffer holds \(capacity) elements, \(values.count) are needed",
      hint: "pass capacity 0 to ask for the size")
  }
  guard let target = unsafe target else {
    throw CallError(QWEN_ERROR_ARGUMENT, "the buffer is NULL")
  }
  for (index, value) in values.enumerated() { unsafe target[index] = value }
}

/// Ids that a caller passed.
func ids(_ pointer: UnsafePointer<Int32>?, _ count: Int) throws(CallError) -> [Int32] {
  guard count >= 0, count <= 1 << 28 else {
    throw CallError(QWEN_ERROR_LIMIT, "\(count) ids are more than 2^28")
  }
  if count == 0 { return [] }
  guard let pointer = unsafe pointer else { throw CallError(QWEN_ERROR_ARGUMENT, "ids is NULL") }
  return unsafe Array(UnsafeBufferPointer(start: pointer, count: count))
}
