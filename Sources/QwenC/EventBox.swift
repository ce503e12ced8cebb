internal import CQwen
internal import Glibc
internal import QwenEngine
internal import QwenFormats

/// A C event and the text it points to, valid until the next `fill`.
@safe final class EventBox {
  let event = UnsafeMutablePointer<qwen_event>.allocate(capacity: 1)
  /// Memory for the text, kept from event to event.
  private var text: UnsafeMutablePointer<CChar>?
  private var capacity = 0

  init() { unsafe event.initialize(to: qwen_event()) }

  deinit {
    unsafe free(text)
    unsafe event.deallocate()
  }

  /// Describes `source`; false if there is no memory for its text.
  func fill(_ source: RunEvent) -> Bool {
    switch source {
    case .progress(let fraction):
      guard fill(kind: QWEN_EVENT_PROGRESS, content: "") else { return false }
      unsafe event.pointee.fraction = fraction
    case .text(let piece, let id, let logprob):
      guard fill(kind: QWEN_EVENT_TEXT, content: piece) else { return false }
      unsafe event.pointee.id = id
      unsafe event.pointee.logprob = logprob
    case .reasoning(let piece, let id, let logprob):
      guard fill(kind: QWEN_EVENT_REASONING, content: piece) else { return false }
      unsafe event.pointee.id = id
      unsafe event.pointee.logprob = logprob
    case .call(let index, let callID, let name, let id, let logprob):
      let call: JSONValue = [
        "index": .integer(index), "id": .string(callID), "name": .string(name),
      ]
      guard fill(kind: QWEN_EVENT_TOOL_CALL, content: call.serialized()) else { return false }
      unsafe event.pointee.call = Int32(clamping: index)
      unsafe event.pointee.id = id
      unsafe event.pointee.logprob = logprob
    case .arguments(let index, let piece, let id, let logprob):
      guard fill(kind: QWEN_EVENT_TOOL_ARGUMENTS, content: piece) else { return false }
      unsafe event.pointee.call = Int32(clamping: index)
      unsafe event.pointee.id = id
      unsafe event.pointee.logprob = logprob
    case .done(let result):
      return fill(kind: QWEN_EVENT_DONE, content: result.json.serialized())
    }
    return true
  }

  /// An event of a kind with a text; false if there is no memory for it.
  func fill(kind: Int, content: String) -> Bool {
    var content = content
    return content.withUTF8 { bytes in
      guard reserve(bytes.count + 1), let text = unsafe text else { return false }
      if let start = bytes.baseAddress {
        unsafe UnsafeMutableRawPointer(text).copyMemory(from: start, byteCount: bytes.count)
      }
      unsafe text[bytes.count] = 0
      unsafe event.pointee = qwen_event()
      unsafe event.pointee.size = UInt32(MemoryLayout<qwen_event>.size)
      unsafe event.pointee.kind = Int32(kind)
      unsafe event.pointee.id = -1
      unsafe event.pointee.call = -1
      unsafe event.pointee.text = UnsafePointer(text)
      unsafe event.pointee.length = bytes.count
      return true
    }
  }

  private func reserve(_ count: Int) -> Bool {
    if count <= capacity { return true }
    let size = max(256, count + count / 2)
    unsafe free(text)
    unsafe text = malloc(size)?.assumingMemoryBound(to: CChar.self)
    capacity = unsafe text == nil ? 0 : size
    return capacity > 0
  }
}

/// A NUL-terminated copy in memory of malloc; nil if there is none.
func copyOut(_ text: String) -> (pointer: UnsafeMutablePointer<CChar>, count: Int)? {
  var text = text
  return text.withUTF8 { bytes in
    guard let memory = unsafe malloc(bytes.count + 1) else { return nil }
    if let start = bytes.baseAddress {
      unsafe memory.copyMemory(from: start, byteCount: bytes.count)
    }
    unsafe memory.storeBytes(of: 0, toByteOffset: bytes.count, as: UInt8.self)
    return unsafe (memory.assumingMemoryBound(to: CChar.self), bytes.count)
  }
}
