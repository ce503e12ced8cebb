internal import CQwen
internal import Glibc
internal import QwenEngine

/// A C event and the text it points to, valid until the next `fill`.
@safe final class EventBox {
  let event = UnsafeMutablePointer<qwen_event>.allocate(capacity: 1)
  private var text: UnsafeMutablePointer<CChar>?

  init() { unsafe event.initialize(to: qwen_event()) }

  deinit {
    unsafe free(text)
    unsafe event.deallocate()
  }

  /// Describes `source`; false if there is no memory for its text.
  func fill(_ source: RunEvent) -> Bool {
    var content = ""
    unsafe event.pointee = qwen_event()
    unsafe event.pointee.size = UInt32(MemoryLayout<qwen_event>.size)
    unsafe event.pointee.id = -1
    switch source {
    case .progress(let fraction):
      unsafe event.pointee.kind = Int32(QWEN_EVENT_PROGRESS)
      unsafe event.pointee.fraction = fraction
    case .text(let piece, let id, let logprob):
      unsafe event.pointee.kind = Int32(QWEN_EVENT_TEXT)
      unsafe event.pointee.id = id
      unsafe event.pointee.logprob = logprob
      content = piece
    case .done(let result):
      unsafe event.pointee.kind = Int32(QWEN_EVENT_DONE)
      content = result.json.serialized()
    }
    unsafe free(text)
    guard let (copy, count) = unsafe copyOut(content) else {
      unsafe text = nil
      return false
    }
    unsafe text = copy
    unsafe event.pointee.text = UnsafePointer(copy)
    unsafe event.pointee.length = count
    return true
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
