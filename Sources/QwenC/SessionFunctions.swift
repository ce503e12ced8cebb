public import CQwen
internal import QwenEngine
internal import QwenFormats

@c @implementation
public func qwen_session_open(
  _ out: UnsafeMutablePointer<qwen_session?>?, _ model: qwen_model?,
  _ options_json: UnsafePointer<CChar>?
) -> qwen_status {
  unsafe out?.pointee = nil
  return call { () throws(CallError) in
    guard let out = unsafe out else { throw CallError(QWEN_ERROR_ARGUMENT, "out is NULL") }
    let model = try unsafe models.find(model).model
    let options = try unsafe optionText(options_json)
    let session = try engine { () throws(EngineError) in
      try Session(model, options: try OptionTable.session.parse(options))
    }
    unsafe out.pointee = sessions.insert(SessionCell(session))
    Log.write(QWEN_LOG_INFO) { "session opened: context \(session.info["context"]?.int ?? 0)" }
  }
}

@c @implementation
public func qwen_session_info(
  _ session: qwen_session?, _ out_json: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
) -> qwen_status {
  unsafe out_json?.pointee = nil
  return call { () throws(CallError) in
    let cell = try unsafe sessions.find(session)
    guard unsafe out_json != nil else { throw CallError(QWEN_ERROR_ARGUMENT, "out_json is NULL") }
    let info = try cell.idle { () throws(CallError) in cell.session.info }
    try unsafe give(JSONValue.object(info).serialized(), out_json)
  }
}

@c @implementation
public func qwen_session_reset(_ session: qwen_session?) -> qwen_status {
  call { () throws(CallError) in
    let cell = try unsafe sessions.find(session)
    try cell.idle { () throws(CallError) in cell.session.reset() }
  }
}

@c @implementation
public func qwen_session_cancel(_ session: qwen_session?) -> qwen_status {
  call { () throws(CallError) in try unsafe sessions.find(session).session.control.cancel() }
}

@c @implementation
public func qwen_session_close(_ session: qwen_session?) {
  guard let cell = unsafe sessions.remove(session) else { return }
  cell.shutDown()
  Log.write(QWEN_LOG_INFO) { "session closed" }
}

@c @implementation
public func qwen_generate(
  _ session: qwen_session?, _ prompt: UnsafePointer<CChar>?, _ length: Int,
  _ options_json: UnsafePointer<CChar>?, _ on_event: qwen_event_callback?,
  _ user: UnsafeMutableRawPointer?,
  _ out_json: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
) -> qwen_status {
  unsafe out_json?.pointee = nil
  return call { () throws(CallError) in
    let cell = try unsafe sessions.find(session)
    let json = try unsafe optionText(options_json)
    let object = try engine { () throws(EngineError) in
      try OptionTable.object(json, what: "the options")
    }
    // Ids in the options stand in for a text.
    let hasText = unsafe prompt != nil
    let hasIDs = object["prompt_ids"] != nil && !hasText
    let prompt = hasIDs ? nil : try unsafe text(prompt, length, "prompt")
    try cell.idle { () throws(CallError) in
      let request = try engine { () throws(EngineError) in
        try Request.generate(cell.session.model, object, prompt: prompt)
      }
      try unsafe push(cell, request, on_event, user, out_json)
    }
  }
}

@c @implementation
public func qwen_chat(
  _ session: qwen_session?, _ request_json: UnsafePointer<CChar>?,
  _ on_event: qwen_event_callback?, _ user: UnsafeMutableRawPointer?,
  _ out_json: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
) -> qwen_status {
  unsafe out_json?.pointee = nil
  return call { () throws(CallError) in
    let cell = try unsafe sessions.find(session)
    let json = try unsafe optionText(request_json)
    try cell.idle { () throws(CallError) in
      let request = try engine { () throws(EngineError) in
        try Request.chat(
          cell.session.model, try OptionTable.object(json, what: "the request"))
      }
      try unsafe push(cell, request, on_event, user, out_json)
    }
  }
}

/// Runs a request on the calling thread and hands its events to the callback.
private func push(
  _ cell: SessionCell, _ request: Request, _ callback: qwen_event_callback?,
  _ user: UnsafeMutableRawPointer?, _ out: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
) throws(CallError) {
  var run = try engine { () throws(EngineError) in
    try unsafe Run(cell.session, request, keepsPast: callback != nil)
  }
  let box = EventBox()
  var result: RunResult?
  while let event = try engine({ () throws(EngineError) in try run.next() }) {
    if case .done(let finished) = event {
      result = finished
      Metrics.count(finished)
    }
    guard let callback = unsafe callback else { continue }
    guard box.fill(event) else {
      throw CallError(QWEN_ERROR_MEMORY, "there is no memory for an event")
    }
    let answer = unsafe callback(box.event, user)
    if answer == Int32(QWEN_CANCEL) {
      try engine { () throws(EngineError) in try run.undo() }
      throw CallError(QWEN_ERROR_CANCELLED, "the run was cancelled by its callback")
    }
    if answer != Int32(QWEN_CONTINUE), result == nil {
      run.stop()
    }
  }
  if let result { try unsafe give(result.json.serialized(), out) }
}

@c @implementation
public func qwen_begin(
  _ session: qwen_session?, _ request_json: UnsafePointer<CChar>?
) -> qwen_status {
  call { () throws(CallError) in
    let cell = try unsafe sessions.find(session)
    let json = try unsafe optionText(request_json)
    try cell.idle { () throws(CallError) in
      let run = try engine { () throws(EngineError) in
        let object = try OptionTable.object(json, what: "the request")
        return try Run(cell.session, try Request.any(cell.session.model, object))
      }
      let pull = PullRun()
      try pull.start(run)
      cell.pull = pull
    }
  }
}

@c @implementation
public func qwen_next(
  _ session: qwen_session?, _ timeout_ms: Int64,
  _ event: UnsafeMutablePointer<UnsafePointer<qwen_event>?>?
) -> qwen_status {
  unsafe event?.pointee = nil
  var status = qwen_status(QWEN_OK)
  let failed = call { () throws(CallError) in
    let cell = try unsafe sessions.find(session)
    guard let event = unsafe event else { throw CallError(QWEN_ERROR_ARGUMENT, "event is NULL") }
    try cell.exclusively { () throws(CallError) in
      guard let pull = cell.pull else {
        status = qwen_status(QWEN_DONE)
        return
      }
      switch try pull.next(timeout: timeout_ms) {
      case .pending: status = qwen_status(QWEN_PENDING)
      case .done: status = qwen_status(QWEN_DONE)
      case .event(let found):
        guard pull.event.fill(found) else {
          throw CallError(QWEN_ERROR_MEMORY, "there is no memory for an event")
        }
        unsafe event.pointee = UnsafePointer(pull.event.event)
      }
    }
  }
  return failed == qwen_status(QWEN_OK) ? status : failed
}

@c @implementation
public func qwen_logits(
  _ session: qwen_session?, _ ids: UnsafePointer<Int32>?, _ count: Int, _ first: Int,
  _ values: UnsafeMutablePointer<Float>?, _ capacity: Int, _ written: UnsafeMutablePointer<Int>?
) -> qwen_status {
  unsafe written?.pointee = 0
  return call { () throws(CallError) in
    let cell = try unsafe sessions.find(session)
    let tokens = try unsafe QwenC.ids(ids, count)
    guard let written = unsafe written else {
      throw CallError(QWEN_ERROR_ARGUMENT, "written is NULL")
    }
    guard first >= 0, first < tokens.count else {
      throw CallError(QWEN_ERROR_ARGUMENT, "first is \(first) of \(tokens.count) ids")
    }
    let columns = cell.session.model.configuration.vocabularyRows
    let needed = (tokens.count - first) * columns
    unsafe written.pointee = needed
    if capacity == 0 { return }
    guard capacity >= needed, capacity > 0 else {
      throw CallError(
        QWEN_ERROR_BUFFER, "the buffer holds \(capacity) floats, \(needed) are needed")
    }
    guard let values = unsafe values else { throw CallError(QWEN_ERROR_ARGUMENT, "values is NULL") }
    try cell.idle { () throws(CallError) in
      try engine { () throws(EngineError) in
        try unsafe cell.session.forEachLogits(tokens, from: first) { position, row in
          guard let start = row.baseAddress else { return }
          unsafe (values + (position - first) * columns).update(from: start, count: columns)
        }
      }
    }
  }
}

@c @implementation
public func qwen_score(
  _ session: qwen_session?, _ ids: UnsafePointer<Int32>?, _ count: Int,
  _ logprobs: UnsafeMutablePointer<Float>?, _ capacity: Int, _ written: UnsafeMutablePointer<Int>?
) -> qwen_status {
  unsafe written?.pointee = 0
  return call { () throws(CallError) in
    let cell = try unsafe sessions.find(session)
    let tokens = try unsafe QwenC.ids(ids, count)
    guard let written = unsafe written else {
      throw CallError(QWEN_ERROR_ARGUMENT, "written is NULL")
    }
    unsafe written.pointee = max(0, tokens.count - 1)
    if capacity == 0 || tokens.count < 2 { return }
    guard capacity >= tokens.count - 1 else {
      throw CallError(
        QWEN_ERROR_BUFFER, "the buffer holds \(capacity) floats, \(tokens.count - 1) are needed")
    }
    let scores = try cell.idle { () throws(CallError) in
      try engine { () throws(EngineError) in try cell.session.score(tokens) }
    }
    try unsafe write(scores, logprobs, capacity, written)
  }
}
