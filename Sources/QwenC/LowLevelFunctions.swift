public import CQwen
internal import QwenEngine

@c @implementation
public func qwen_session_feed(
  _ session: qwen_session?, _ ids: UnsafePointer<Int32>?, _ count: Int
) -> qwen_status {
  call { () throws(CallError) in
    let cell = try unsafe sessions.find(session)
    let tokens = try unsafe QwenC.ids(ids, count)
    try cell.idle { () throws(CallError) in
      try engine { () throws(EngineError) in try cell.session.feed(tokens) }
    }
  }
}

@c @implementation
public func qwen_session_logits(
  _ session: qwen_session?, _ row: Int64, _ values: UnsafeMutablePointer<Float>?, _ capacity: Int,
  _ count: UnsafeMutablePointer<Int>?
) -> qwen_status {
  unsafe count?.pointee = 0
  return call { () throws(CallError) in
    let cell = try unsafe sessions.find(session)
    guard let count = unsafe count else { throw CallError(QWEN_ERROR_ARGUMENT, "count is NULL") }
    let columns = cell.session.model.configuration.vocabularyRows
    unsafe count.pointee = columns
    if capacity == 0 { return }
    guard capacity >= columns else { throw CallError.buffer(capacity, columns, "floats") }
    guard let values = unsafe values else { throw CallError(QWEN_ERROR_ARGUMENT, "values is NULL") }
    try cell.idle { () throws(CallError) in
      try engine { () throws(EngineError) in
        try unsafe cell.session.fedLogits(row: Int(row)) { logits in
          guard let start = logits.baseAddress else { return }
          unsafe values.update(from: start, count: columns)
        }
      }
    }
  }
}

@c @implementation
public func qwen_embed(
  _ session: qwen_session?, _ text: UnsafePointer<CChar>?, _ length: Int,
  _ options_json: UnsafePointer<CChar>?, _ values: UnsafeMutablePointer<Float>?, _ capacity: Int,
  _ count: UnsafeMutablePointer<Int>?
) -> qwen_status {
  unsafe count?.pointee = 0
  return call { () throws(CallError) in
    let cell = try unsafe sessions.find(session)
    let input = try unsafe QwenC.text(text, length, "text")
    let json = try unsafe optionText(options_json)
    guard let count = unsafe count else { throw CallError(QWEN_ERROR_ARGUMENT, "count is NULL") }
    let options = try engine { () throws(EngineError) in try OptionTable.embed.parse(json) }
    let size = cell.session.model.configuration.hiddenSize
    unsafe count.pointee = size
    if capacity == 0 { return }
    guard capacity >= size else { throw CallError.buffer(capacity, size, "floats") }
    let vector = try cell.idle { () throws(CallError) in
      try engine { () throws(EngineError) in try cell.session.embed(input, options: options) }
    }
    try unsafe write(vector, values, capacity, count)
  }
}

@c @implementation
public func qwen_token_text(
  _ model: qwen_model?, _ id: Int32, _ bytes: UnsafeMutablePointer<CChar>?, _ capacity: Int,
  _ length: UnsafeMutablePointer<Int>?
) -> qwen_status {
  unsafe length?.pointee = 0
  return call { () throws(CallError) in
    let model = try unsafe models.find(model).model
    let text = try engine { () throws(EngineError) in
      try model.detokenize([id], options: ["errors": "bytes"])
    }
    try unsafe write(text.map { CChar(bitPattern: $0) }, bytes, capacity, length)
    if capacity > text.count, let bytes = unsafe bytes { unsafe bytes[text.count] = 0 }
  }
}

// MARK: Samplers

@c @implementation
public func qwen_sampler_open(
  _ out: UnsafeMutablePointer<qwen_sampler?>?, _ model: qwen_model?,
  _ options_json: UnsafePointer<CChar>?
) -> qwen_status {
  unsafe out?.pointee = nil
  return call { () throws(CallError) in
    guard let out = unsafe out else { throw CallError(QWEN_ERROR_ARGUMENT, "out is NULL") }
    let isGiven = unsafe model != nil
    let model = isGiven ? try unsafe models.find(model).model : nil
    let json = try unsafe optionText(options_json)
    let sampler = try engine { () throws(EngineError) in
      try HostSampler(try OptionTable.sampler.parse(json), model: model)
    }
    unsafe out.pointee = samplers.insert(SamplerCell(sampler))
  }
}

@c @implementation
public func qwen_sampler_close(_ sampler: qwen_sampler?) { _ = unsafe samplers.remove(sampler) }

@c @implementation
public func qwen_sampler_distribution(
  _ sampler: qwen_sampler?, _ history: UnsafePointer<Int32>?, _ history_count: Int,
  _ logits: UnsafePointer<Float>?, _ vocab: Int, _ ids: UnsafeMutablePointer<Int32>?,
  _ probabilities: UnsafeMutablePointer<Float>?, _ capacity: Int,
  _ count: UnsafeMutablePointer<Int>?
) -> qwen_status {
  unsafe count?.pointee = 0
  return call { () throws(CallError) in
    let cell = try unsafe samplers.find(sampler)
    let tokens = try unsafe QwenC.ids(history, history_count)
    let row = try unsafe floats(logits, vocab)
    let found = try cell.exclusively { () throws(CallError) in
      try engine { () throws(EngineError) in try cell.sampler.distribution(tokens, row) }
    }
    try unsafe write(found.map(\.id), ids, capacity, count)
    if capacity == 0 { return }
    try unsafe write(found.map { Float($0.probability) }, probabilities, capacity, count)
  }
}

@c @implementation
public func qwen_sampler_sample(
  _ sampler: qwen_sampler?, _ history: UnsafePointer<Int32>?, _ history_count: Int,
  _ logits: UnsafePointer<Float>?, _ vocab: Int, _ id: UnsafeMutablePointer<Int32>?
) -> qwen_status {
  unsafe id?.pointee = -1
  return call { () throws(CallError) in
    let cell = try unsafe samplers.find(sampler)
    guard let id = unsafe id else { throw CallError(QWEN_ERROR_ARGUMENT, "id is NULL") }
    let tokens = try unsafe QwenC.ids(history, history_count)
    let row = try unsafe floats(logits, vocab)
    unsafe id.pointee = try cell.exclusively { () throws(CallError) in
      try engine { () throws(EngineError) in try cell.sampler.sample(tokens, row) }
    }
  }
}

/// Logits that a caller passed.
private func floats(_ pointer: UnsafePointer<Float>?, _ count: Int) throws(CallError) -> [Float] {
  guard count > 0, count <= 1 << 24 else {
    throw CallError(QWEN_ERROR_ARGUMENT, "\(count) logits are no row of a vocabulary")
  }
  guard let pointer = unsafe pointer else { throw CallError(QWEN_ERROR_ARGUMENT, "logits is NULL") }
  return unsafe Array(UnsafeBufferPointer(start: pointer, count: count))
}
