public import CQwen
internal import QwenEngine

@c @implementation
public func qwen_session_tokens(
  _ session: qwen_session?, _ ids: UnsafeMutablePointer<Int32>?, _ capacity: Int,
  _ count: UnsafeMutablePointer<Int>?
) -> qwen_status {
  unsafe count?.pointee = 0
  return call { () throws(CallError) in
    let cell = try unsafe sessions.find(session)
    let tokens = try cell.idle { () throws(CallError) in cell.session.tokens }
    try unsafe write(tokens, ids, capacity, count)
  }
}

@c @implementation
public func qwen_session_rewind(_ session: qwen_session?, _ position: Int) -> qwen_status {
  call { () throws(CallError) in
    let cell = try unsafe sessions.find(session)
    try cell.idle { () throws(CallError) in
      try engine { () throws(EngineError) in try cell.session.rewind(to: position) }
    }
  }
}

@c @implementation
public func qwen_session_fork(
  _ out: UnsafeMutablePointer<qwen_session?>?, _ session: qwen_session?
) -> qwen_status {
  unsafe out?.pointee = nil
  return call { () throws(CallError) in
    guard let out = unsafe out else { throw CallError(QWEN_ERROR_ARGUMENT, "out is NULL") }
    let cell = try unsafe sessions.find(session)
    let fork = try cell.idle { () throws(CallError) in
      try engine { () throws(EngineError) in try cell.session.fork() }
    }
    unsafe out.pointee = sessions.insert(SessionCell(fork))
  }
}

@c @implementation
public func qwen_session_save(
  _ session: qwen_session?, _ path: UnsafePointer<CChar>?
) -> qwen_status {
  call { () throws(CallError) in
    let cell = try unsafe sessions.find(session)
    let path = try unsafe text(path, -1, "path")
    try cell.idle { () throws(CallError) in
      try engine { () throws(EngineError) in try cell.session.save(to: path) }
    }
  }
}

@c @implementation
public func qwen_session_save_buffer(
  _ session: qwen_session?, _ bytes: UnsafeMutableRawPointer?, _ capacity: Int,
  _ size: UnsafeMutablePointer<Int>?
) -> qwen_status {
  unsafe size?.pointee = 0
  return call { () throws(CallError) in
    let cell = try unsafe sessions.find(session)
    guard let size = unsafe size else { throw CallError(QWEN_ERROR_ARGUMENT, "size is NULL") }
    try cell.idle { () throws(CallError) in
      let needed = cell.session.stateSize
      unsafe size.pointee = needed
      if capacity == 0 { return }
      guard capacity >= needed else { throw CallError.buffer(capacity, needed, "bytes") }
      guard let bytes = unsafe bytes else { throw CallError(QWEN_ERROR_ARGUMENT, "bytes is NULL") }
      var position = 0
      unsafe cell.session.save { block in
        guard let start = block.baseAddress, position + block.count <= needed else { return }
        unsafe (bytes + position).copyMemory(from: start, byteCount: block.count)
        position += block.count
      }
    }
  }
}

@c @implementation
public func qwen_session_load(
  _ session: qwen_session?, _ path: UnsafePointer<CChar>?
) -> qwen_status {
  call { () throws(CallError) in
    let cell = try unsafe sessions.find(session)
    let path = try unsafe text(path, -1, "path")
    try cell.idle { () throws(CallError) in
      try engine { () throws(EngineError) in try cell.session.load(from: path) }
    }
  }
}

@c @implementation
public func qwen_session_load_buffer(
  _ session: qwen_session?, _ bytes: UnsafeRawPointer?, _ size: Int
) -> qwen_status {
  call { () throws(CallError) in
    let cell = try unsafe sessions.find(session)
    guard size >= 0 else { throw CallError(QWEN_ERROR_ARGUMENT, "size is impossible") }
    let isMissing = unsafe bytes == nil
    if isMissing, size > 0 { throw CallError(QWEN_ERROR_ARGUMENT, "bytes is NULL") }
    try cell.idle { () throws(CallError) in
      try engine { () throws(EngineError) in
        try unsafe cell.session.load(from: UnsafeRawBufferPointer(start: bytes, count: size))
      }
    }
  }
}

@c @implementation
public func qwen_session_set_draft(_ session: qwen_session?, _ draft: qwen_model?) -> qwen_status {
  call { () throws(CallError) in
    let cell = try unsafe sessions.find(session)
    let isGiven = unsafe draft != nil
    let model = isGiven ? try unsafe models.find(draft).model : nil
    try cell.idle { () throws(CallError) in
      try engine { () throws(EngineError) in try cell.session.setDraft(model) }
    }
  }
}

extension CallError {
  /// A caller's buffer that is too small.
  static func buffer(_ capacity: Int, _ needed: Int, _ noun: String) -> CallError {
    CallError(
      QWEN_ERROR_BUFFER, "the buffer holds \(capacity) \(noun), \(needed) are needed",
      hint: "pass capacity 0 to ask for the size")
  }
}
