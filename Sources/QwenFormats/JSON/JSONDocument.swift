private import CJansson

/// The tree that jansson makes of a text, freed when this goes.
@safe struct JSONDocument: ~Copyable {
  private let root: UnsafeMutablePointer<json_t>

  /// Parses text whose depth is bounded already: jansson and `value()` recurse.
  init(_ text: UnsafeRawBufferPointer) throws(JSONSyntaxError) {
    unsafe root = try unsafe JSONDocument.parse(text)
  }

  /// The same for a text with integers beyond 64 bits, which jansson refuses: each gets ".0" at its end,
  /// in a copy, so that it is read as a number.
  init(_ text: UnsafeRawBufferPointer, decimalsAt ends: [Int]) throws(JSONSyntaxError) {
    var copy: [UInt8] = []
    copy.reserveCapacity(text.count + 2 * ends.count)
    var start = 0
    for end in ends {
      unsafe copy.append(contentsOf: text[start..<end])
      copy.append(contentsOf: ".0".utf8)
      start = end
    }
    unsafe copy.append(contentsOf: text[start...])
    unsafe root = try unsafe copy.withUnsafeBufferPointer { (bytes) throws(JSONSyntaxError) in
      try unsafe JSONDocument.parse(UnsafeRawBufferPointer(bytes))
    }
  }

  deinit { unsafe json_decref(root) }

  /// The tree as a value; recurses as deep as the text.
  func value() -> JSONValue { unsafe JSONDocument.value(root) }

  private static func parse(
    _ text: UnsafeRawBufferPointer
  ) throws(JSONSyntaxError) -> UnsafeMutablePointer<json_t> {
    guard hasMemory(for: text.count) else {
      throw JSONSyntaxError(
        kind: .memory, message: "there is no memory", line: 1, column: 1, offset: 0)
    }
    var failure = json_error_t()
    let flags = Int(JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY)
    // A buffer without address is empty: any address does for no bytes.
    let parsed =
      if let start = text.baseAddress {
        unsafe json_loadb(start, text.count, flags, &failure)
      } else {
        unsafe json_loadb("", 0, flags, &failure)
      }
    guard let parsed = unsafe parsed else { throw error(failure) }
    return unsafe parsed
  }

  private static func value(_ node: UnsafeMutablePointer<json_t>) -> JSONValue {
    // The nodes belong to the document, which outlives this call.
    switch unsafe node.pointee.type {
    case JSON_OBJECT: return unsafe .object(object(node))
    case JSON_ARRAY:
      let count = unsafe json_array_size(node)
      var values: [JSONValue] = []
      values.reserveCapacity(count)
      for index in 0..<count {
        guard let element = unsafe json_array_get(node, index) else { continue }
        unsafe values.append(value(element))
      }
      return .array(values)
    case JSON_STRING:
      return unsafe .string(text(json_string_value(node), json_string_length(node)))
    case JSON_INTEGER: return unsafe .integer(Int(json_integer_value(node)))
    case JSON_REAL: return unsafe .number(json_real_value(node))
    case JSON_TRUE: return .bool(true)
    case JSON_FALSE: return .bool(false)
    default: return .null
    }
  }

  private static func object(_ node: UnsafeMutablePointer<json_t>) -> JSONObject {
    var entries: [JSONObject.Entry] = []
    entries.reserveCapacity(unsafe json_object_size(node))
    var iterator = unsafe json_object_iter(node)
    while let current = unsafe iterator {
      if let key = unsafe json_object_iter_key(current),
        let member = unsafe json_object_iter_value(current)
      {
        let name = unsafe text(key, json_object_iter_key_len(current))
        unsafe entries.append((name, value(member)))
      }
      unsafe iterator = json_object_iter_next(node, current)
    }
    return JSONObject(unique: entries)
  }

  private static func text(_ start: UnsafePointer<CChar>?, _ count: Int) -> String {
    guard let start = unsafe start else { return "" }
    // jansson's strings have count bytes of checked UTF-8 and live as long as their node.
    return unsafe String(
      decoding: UnsafeRawBufferPointer(start: start, count: count), as: UTF8.self)
  }

  /// Whether what jansson may need for a text of `count` bytes can be had now: it goes on with half a string where a
  /// string can't grow, and ends the process. Asked of the allocator that it uses itself.
  private static func hasMemory(for count: Int) -> Bool {
    var allocate: json_malloc_t?
    var release: json_free_t?
    unsafe json_get_alloc_funcs(&allocate, &release)
    guard let allocate = unsafe allocate, let release = unsafe release else { return true }
    // Small texts may be all brackets, 80 bytes of tree for one of text; of large ones it is their strings that matter.
    let small = 1 << 16
    let needed = 100 * min(count, small) + 16 * (count - min(count, small)) + 8192
    guard let trial = unsafe allocate(needed) else { return false }
    unsafe release(trial)
    return true
  }

  private static func error(_ failure: json_error_t) -> JSONSyntaxError {
    var failure = failure
    let message = unsafe withUnsafeBytes(of: &failure.text) { bytes in
      // The text is NUL-terminated; the last byte is jansson's error code.
      unsafe escaped(bytes.prefix { $0 != 0 })
    }
    let code = unsafe withUnsafeBytes(of: &failure.text) { unsafe $0.last ?? 0 }
    // Where memory is refused, jansson often says nothing at all.
    let isMemory = UInt32(code) == json_error_out_of_memory.rawValue || message.isEmpty
    return JSONSyntaxError(
      kind: isMemory ? .memory : .syntax, message: isMemory ? "there is no memory" : message,
      line: max(1, Int(failure.line)),
      column: max(1, Int(failure.column)), offset: max(0, Int(failure.position)))
  }
}
