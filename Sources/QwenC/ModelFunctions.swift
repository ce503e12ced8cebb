public import CQwen
internal import QwenEngine
internal import QwenFormats
internal import QwenText

@c @implementation
public func qwen_model_open(
  _ out: UnsafeMutablePointer<qwen_model?>?, _ path: UnsafePointer<CChar>?,
  _ options_json: UnsafePointer<CChar>?, _ progress: qwen_progress_callback?,
  _ user: UnsafeMutableRawPointer?
) -> qwen_status {
  unsafe out?.pointee = nil
  return call { () throws(CallError) in
    guard let out = unsafe out else { throw CallError(QWEN_ERROR_ARGUMENT, "out is NULL") }
    let path = try unsafe text(path, -1, "path")
    let options = try unsafe optionText(options_json)
    let report: ((String, Double) -> Bool)? = unsafe progress.map { callback in
      { stage, fraction in unsafe stage.withCString { unsafe callback($0, fraction, user) } == 0 }
    }
    let model = try engine { () throws(EngineError) in
      try Model(path: path, options: try OptionTable.open.parse(options), progress: report)
    }
    unsafe out.pointee = models.insert(ModelCell(model))
    Log.write(QWEN_LOG_INFO) {
      "model opened: \(escapedPath(path)), \(model.configuration.family.rawValue), "
        + "\(model.weightBytes) bytes of weights"
    }
  }
}

@c @implementation
public func qwen_model_plan(
  _ path: UnsafePointer<CChar>?, _ options_json: UnsafePointer<CChar>?,
  _ out_json: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
) -> qwen_status {
  unsafe out_json?.pointee = nil
  return call { () throws(CallError) in
    guard unsafe out_json != nil else { throw CallError(QWEN_ERROR_ARGUMENT, "out_json is NULL") }
    let path = try unsafe text(path, -1, "path")
    let options = try unsafe optionText(options_json)
    let plan = try engine { () throws(EngineError) in
      try MemoryPlan(path: path, options: try OptionTable.planning.parse(options)).json
    }
    try unsafe give(JSONValue.object(plan).serialized(), out_json)
  }
}

@c @implementation
public func qwen_model_convert(
  _ path: UnsafePointer<CChar>?, _ out_path: UnsafePointer<CChar>?,
  _ options_json: UnsafePointer<CChar>?, _ progress: qwen_progress_callback?,
  _ user: UnsafeMutableRawPointer?
) -> qwen_status {
  call { () throws(CallError) in
    let path = try unsafe text(path, -1, "path")
    let target = try unsafe text(out_path, -1, "out_path")
    let options = try unsafe optionText(options_json)
    let report: ((String, Double) -> Bool)? = unsafe progress.map { callback in
      { stage, fraction in unsafe stage.withCString { unsafe callback($0, fraction, user) } == 0 }
    }
    try engine { () throws(EngineError) in
      try Conversion(
        path: path, to: target, options: try OptionTable.convert.parse(options), progress: report
      ).run()
    }
  }
}

@c @implementation
public func qwen_model_info(
  _ model: qwen_model?, _ out_json: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
) -> qwen_status {
  unsafe out_json?.pointee = nil
  return call { () throws(CallError) in
    let model = try unsafe models.find(model).model
    guard unsafe out_json != nil else { throw CallError(QWEN_ERROR_ARGUMENT, "out_json is NULL") }
    try unsafe give(JSONValue.object(model.info).serialized(), out_json)
  }
}

@c @implementation
public func qwen_model_close(_ model: qwen_model?) {
  guard let cell = unsafe models.remove(model) else { return }
  Log.write(QWEN_LOG_INFO) { "model closed: \(escapedPath(cell.model.path))" }
}

@c @implementation
public func qwen_tokenize(
  _ model: qwen_model?, _ text: UnsafePointer<CChar>?, _ length: Int,
  _ options_json: UnsafePointer<CChar>?, _ ids: UnsafeMutablePointer<Int32>?, _ capacity: Int,
  _ count: UnsafeMutablePointer<Int>?
) -> qwen_status {
  unsafe count?.pointee = 0
  return call { () throws(CallError) in
    let model = try unsafe models.find(model).model
    let input = try unsafe bytes(text, length, "text")
    let options = try unsafe optionText(options_json)
    let values = try engine { () throws(EngineError) in
      try model.tokenize(input, options: try OptionTable.tokenize.parse(options))
    }
    try unsafe write(values, ids, capacity, count)
  }
}

@c @implementation
public func qwen_detokenize(
  _ model: qwen_model?, _ ids: UnsafePointer<Int32>?, _ count: Int,
  _ options_json: UnsafePointer<CChar>?, _ text: UnsafeMutablePointer<CChar>?, _ capacity: Int,
  _ length: UnsafeMutablePointer<Int>?
) -> qwen_status {
  unsafe length?.pointee = 0
  return call { () throws(CallError) in
    let model = try unsafe models.find(model).model
    let values = try unsafe QwenC.ids(ids, count)
    let options = try unsafe optionText(options_json)
    let bytes = try engine { () throws(EngineError) in
      try model.detokenize(values, options: try OptionTable.detokenize.parse(options))
    }
    try unsafe write(bytes.map { CChar(bitPattern: $0) }, text, capacity, length)
    if capacity > bytes.count, let text = unsafe text { unsafe text[bytes.count] = 0 }
  }
}

@c @implementation
public func qwen_token_id(
  _ model: qwen_model?, _ text: UnsafePointer<CChar>?, _ length: Int,
  _ id: UnsafeMutablePointer<Int32>?
) -> qwen_status {
  unsafe id?.pointee = -1
  return call { () throws(CallError) in
    let model = try unsafe models.find(model).model
    let bytes = try unsafe QwenC.bytes(text, length, "text")
    guard let id = unsafe id else { throw CallError(QWEN_ERROR_ARGUMENT, "id is NULL") }
    unsafe id.pointee = model.tokenizer.id(of: bytes) ?? -1
  }
}

@c @implementation
public func qwen_render(
  _ model: qwen_model?, _ request_json: UnsafePointer<CChar>?, _ ids: UnsafeMutablePointer<Int32>?,
  _ capacity: Int, _ count: UnsafeMutablePointer<Int>?,
  _ out_text: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
) -> qwen_status {
  unsafe count?.pointee = 0
  unsafe out_text?.pointee = nil
  return call { () throws(CallError) in
    let model = try unsafe models.find(model).model
    let json = try unsafe optionText(request_json)
    let request = try engine { () throws(EngineError) in
      try Request.any(model, try OptionTable.object(json, what: "the request"))
    }
    try unsafe write(request.prompt, ids, capacity, count)
    if unsafe out_text != nil { try unsafe give(model.tokenizer.text(request.prompt), out_text) }
  }
}
