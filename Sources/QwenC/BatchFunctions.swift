public import CQwen
internal import QwenEngine

@c @implementation
public func qwen_batch_open(
  _ out: UnsafeMutablePointer<qwen_batch?>?, _ model: qwen_model?,
  _ options_json: UnsafePointer<CChar>?
) -> qwen_status {
  unsafe out?.pointee = nil
  return call { () throws(CallError) in
    guard let out = unsafe out else { throw CallError(QWEN_ERROR_ARGUMENT, "out is NULL") }
    let model = try unsafe models.find(model).model
    let options = try unsafe optionText(options_json)
    let batch = try engine { () throws(EngineError) in
      try Batch(model, options: try OptionTable.batch.parse(options))
    }
    unsafe out.pointee = batches.insert(BatchCell(batch))
  }
}

@c @implementation
public func qwen_batch_submit(
  _ batch: qwen_batch?, _ request_json: UnsafePointer<CChar>?,
  _ request: UnsafeMutablePointer<Int64>?
) -> qwen_status {
  unsafe request?.pointee = 0
  return call { () throws(CallError) in
    let batch = try unsafe batches.find(batch).batch
    let json = try unsafe optionText(request_json)
    guard let request = unsafe request else {
      throw CallError(QWEN_ERROR_ARGUMENT, "request is NULL")
    }
    unsafe request.pointee = try engine { () throws(EngineError) in
      let object = try OptionTable.object(json, what: "the request")
      return try batch.submit(try Request.any(batch.model, object))
    }
  }
}

@c @implementation
public func qwen_batch_step(
  _ batch: qwen_batch?, _ on_event: qwen_batch_callback?, _ user: UnsafeMutableRawPointer?,
  _ remaining: UnsafeMutablePointer<Int>?
) -> qwen_status {
  unsafe remaining?.pointee = 0
  return call { () throws(CallError) in
    let cell = try unsafe batches.find(batch)
    defer { unsafe remaining?.pointee = cell.batch.remaining }
    try cell.exclusively { () throws(CallError) in
      var outOfMemory = false
      try engine { () throws(EngineError) in
        try cell.batch.step { id, report in
          if case .event(.done(let result)) = report { Metrics.count(result) }
          guard let callback = unsafe on_event else { return true }
          guard cell.event.fill(report) else {
            outOfMemory = true
            return nil
          }
          switch unsafe Int(callback(id, cell.event.event, user)) {
          case QWEN_CONTINUE: return true
          case QWEN_CANCEL: return nil
          default: return false
          }
        }
      }
      if outOfMemory {
        throw CallError(QWEN_ERROR_MEMORY, "there is no memory for an event")
      }
    }
  }
}

@c @implementation
public func qwen_batch_cancel(_ batch: qwen_batch?, _ request: Int64) -> qwen_status {
  call { () throws(CallError) in
    guard try unsafe batches.find(batch).batch.cancel(request) else {
      throw CallError(QWEN_ERROR_ARGUMENT, "request \(request) is not under way in this batch")
    }
  }
}

@c @implementation
public func qwen_batch_close(_ batch: qwen_batch?) {
  unsafe batches.remove(batch)?.batch.control.cancel()
}

extension EventBox {
  /// Describes what a batch reports; false if there is no memory for its text.
  func fill(_ report: Batch.Report) -> Bool {
    switch report {
    case .event(let event): return fill(event)
    case .failure(let error):
      return fill(kind: QWEN_EVENT_ERROR, content: CallError(error).json)
    }
  }
}
