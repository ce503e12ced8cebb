/// Reads the pickle of a torch checkpoint: a stack machine that knows how tensors are rebuilt and nothing
/// else.
///
/// No name in a pickle is ever looked up or called: a name or an operation that is not needed for tensors
/// ends the reading with an error that tells it. Source: Python's pickletools, protocols 2 to 5.
struct PickleMachine {
  private var reader: ByteReader
  private var stack: [PickleValue] = []
  private var memo: [Int: PickleValue] = [:]
  /// Every list and dictionary made, so that circles of them are freed.
  private var boxes: [PickleBox] = []

  /// Values on the stack, in the memo, and lists and dictionaries altogether.
  private static let valueLimit = 1 << 20
  /// Bytes of a name or of a key.
  private static let textLimit = 1 << 16

  private init(_ region: ByteRegion) { reader = ByteReader(region) }

  /// The tensors of the dictionary that the pickle holds, in its order; entries of other kinds are left out.
  static func tensors(
    _ region: ByteRegion
  ) throws(FormatError) -> [(name: String, tensor: PickleTensor)] {
    var machine = PickleMachine(region)
    defer {
      for box in machine.boxes {
        box.items = []
        box.members = []
      }
    }
    guard case .dictionary(let root) = try machine.run() else {
      throw machine.bad("it holds no dictionary of tensors")
    }
    var order: [String] = []
    var found: [String: PickleTensor] = [:]
    for (name, value) in root.members {
      guard case .tensor(let tensor) = value else { continue }
      if found.updateValue(tensor, forKey: name) == nil { order.append(name) }
    }
    guard !order.isEmpty else {
      let names = escapedList(root.members.map(\.name))
      throw machine.bad("its dictionary has no tensors\(names.isEmpty ? "" : " but \(names)")")
    }
    return order.compactMap { name in found[name].map { (name, $0) } }
  }

  private func bad(_ message: String, hint: String? = nil) -> FormatError {
    FormatError(
      .malformed, path: reader.path, offset: reader.offset, "in the pickle, \(message)", hint: hint)
  }

  private func refused(_ what: String) -> FormatError {
    FormatError(
      .unsupported, path: reader.path, offset: reader.offset,
      "the pickle asks for \(what), which rebuilding tensors does not need; nothing was run",
      hint: "save the bare state_dict, or get the safetensors files of this model")
  }

  // ---- The machine ---------------------------------------------------------------------------------

  private mutating func run() throws(FormatError) -> PickleValue {
    while true {
      let code = try reader.u8()
      if code == UInt8(ascii: ".") { return try pop() }
      guard stack.count < Self.valueLimit, memo.count < Self.valueLimit,
        boxes.count < Self.valueLimit
      else {
        throw FormatError(
          .limit, path: reader.path, offset: reader.offset,
          "the pickle holds more than \(Self.valueLimit) values")
      }
      if try literal(code) { continue }
      if try container(code) { continue }
      try other(code)
    }
  }

  /// Numbers and texts. False for other operations.
  private mutating func literal(_ code: UInt8) throws(FormatError) -> Bool {
    switch code {
    case UInt8(ascii: "N"): stack.append(.none)
    case 0x88: stack.append(.bool(true))
    case 0x89: stack.append(.bool(false))
    case UInt8(ascii: "J"): stack.append(.int(Int(try reader.i32())))
    case UInt8(ascii: "K"): stack.append(.int(Int(try reader.u8())))
    case UInt8(ascii: "M"): stack.append(.int(Int(try reader.u16())))
    case 0x8A: stack.append(.int(try longInteger(Int(try reader.u8()))))
    case UInt8(ascii: "G"):
      try reader.skip(8)
      stack.append(.other)
    case UInt8(ascii: "X"): stack.append(.text(try text(Int(try reader.u32()))))
    case 0x8C: stack.append(.text(try text(Int(try reader.u8()))))
    case 0x8D: stack.append(.text(try text(try reader.size("the length of a text"))))
    case UInt8(ascii: "T"): stack.append(.text(try text(Int(try reader.u32()))))
    case UInt8(ascii: "U"): stack.append(.text(try text(Int(try reader.u8()))))
    case UInt8(ascii: "B"):
      try reader.skip(Int(try reader.u32()))
      stack.append(.other)
    case UInt8(ascii: "C"):
      try reader.skip(Int(try reader.u8()))
      stack.append(.other)
    default: return false
    }
    return true
  }

  private mutating func longInteger(_ count: Int) throws(FormatError) -> Int {
    guard count <= 8 else { throw bad("an integer has \(count) bytes") }
    var value: UInt64 = 0
    var last: UInt8 = 0
    for index in 0..<count {
      last = try reader.u8()
      value |= UInt64(last) << (8 * index)
    }
    // The highest bit is the sign.
    if count > 0, count < 8, last & 0x80 != 0 { value |= ~UInt64(0) << (8 * count) }
    return Int(Int64(bitPattern: value))
  }

  private mutating func text(_ count: Int) throws(FormatError) -> String {
    guard count <= Self.textLimit else { throw bad("a text has \(count) bytes") }
    guard let text = try reader.text(count) else { throw bad("a text is not UTF-8") }
    return text
  }

  /// Tuples, lists, dictionaries. False for other operations.
  private mutating func container(_ code: UInt8) throws(FormatError) -> Bool {
    switch code {
    case UInt8(ascii: "("): stack.append(.mark)
    case UInt8(ascii: ")"): try push(tuple: [])
    case UInt8(ascii: "t"): try push(tuple: try popToMark())
    case 0x85: try push(tuple: try pop(1))
    case 0x86: try push(tuple: try pop(2))
    case 0x87: try push(tuple: try pop(3))
    case UInt8(ascii: "]"): stack.append(.list(box()))
    case UInt8(ascii: "}"): stack.append(.dictionary(box()))
    case UInt8(ascii: "a"):
      let item = try pop()
      try append([item])
    case UInt8(ascii: "e"):
      let items = try popToMark()
      try append(items)
    case UInt8(ascii: "s"):
      let items = try pop(2)
      try set(items)
    case UInt8(ascii: "u"):
      let items = try popToMark()
      try set(items)
    default: return false
    }
    return true
  }

  private mutating func other(_ code: UInt8) throws(FormatError) {
    switch code {
    case 0x80:
      let version = try reader.u8()
      guard version <= 5 else { throw bad("the protocol is \(version)") }
    case 0x95: try reader.skip(8)
    case UInt8(ascii: "q"): try remember(Int(try reader.u8()))
    case UInt8(ascii: "r"): try remember(Int(try reader.u32()))
    case 0x94: try remember(memo.count)
    case UInt8(ascii: "h"): try recall(Int(try reader.u8()))
    case UInt8(ascii: "j"): try recall(Int(try reader.u32()))
    case UInt8(ascii: "0"): _ = try pop()
    case UInt8(ascii: "c"): try push(module: try line(), name: try line())
    case 0x93:
      let names = try pop(2)
      guard let module = names[0].text, let name = names[1].text else {
        throw bad("a name is no text")
      }
      try push(module: module, name: name)
    case UInt8(ascii: "Q"): try load(try pop())
    case UInt8(ascii: "R"):
      let call = try pop(2)
      try rebuild(call[0], call[1])
    case UInt8(ascii: "b"):
      // What a state_dict notes about versions of its modules: not needed.
      _ = try pop()
      guard case .dictionary? = stack.last else { throw refused("the state of an object") }
    default:
      throw refused("operation 0x\(String(code, radix: 16))")
    }
  }

  // ---- The stack -----------------------------------------------------------------------------------

  private mutating func pop() throws(FormatError) -> PickleValue {
    guard let value = stack.popLast() else { throw bad("the stack is empty") }
    if case .mark = value { throw bad("a value is missing") }
    return value
  }

  private mutating func pop(_ count: Int) throws(FormatError) -> [PickleValue] {
    var values: [PickleValue] = []
    for _ in 0..<count { values.append(try pop()) }
    return values.reversed()
  }

  private mutating func popToMark() throws(FormatError) -> [PickleValue] {
    guard
      let mark = stack.lastIndex(where: { if case .mark = $0 { true } else { false } })
    else { throw bad("there is no mark on the stack") }
    let values = Array(stack[(mark + 1)...])
    stack.removeSubrange(mark...)
    return values
  }

  private mutating func push(tuple items: [PickleValue]) throws(FormatError) {
    guard let tuple = PickleTuple(items) else {
      throw bad("tuples are nested deeper than \(PickleTuple.depthLimit)")
    }
    stack.append(.tuple(tuple))
  }

  private mutating func box() -> PickleBox {
    let box = PickleBox()
    boxes.append(box)
    return box
  }

  private func append(_ items: [PickleValue]) throws(FormatError) {
    guard case .list(let box)? = stack.last else { throw bad("there is no list to add to") }
    box.items += items
  }

  private func set(_ items: [PickleValue]) throws(FormatError) {
    guard case .dictionary(let box)? = stack.last, items.count % 2 == 0 else {
      throw bad("there is no dictionary to add to")
    }
    for index in stride(from: 0, to: items.count, by: 2) {
      // Keys of other kinds name no tensor.
      guard let name = items[index].text else { continue }
      box.members.append((name, items[index + 1]))
    }
  }

  private mutating func remember(_ key: Int) throws(FormatError) {
    guard let value = stack.last else { throw bad("there is nothing to remember") }
    memo[key] = value
  }

  private mutating func recall(_ key: Int) throws(FormatError) {
    guard let value = memo[key] else { throw bad("nothing is remembered as \(key)") }
    stack.append(value)
  }

  // ---- Names and calls -----------------------------------------------------------------------------

  private mutating func line() throws(FormatError) -> String {
    var bytes: [UInt8] = []
    while bytes.count <= 256 {
      let byte = try reader.u8()
      if byte == 0x0A { return String(decoding: bytes, as: UTF8.self) }
      bytes.append(byte)
    }
    throw bad("a name has more than 256 bytes")
  }

  private mutating func push(module: String, name: String) throws(FormatError) {
    guard let known = PickleName(module: module, name: name) else {
      throw refused("\"\(escaped(module)).\(escaped(name))\"")
    }
    stack.append(.name(known))
  }

  /// A reference to a storage: ("storage", class, key, device, number of elements).
  private mutating func load(_ id: PickleValue) throws(FormatError) {
    guard let parts = id.tuple, parts.count == 5, parts[0].text == "storage",
      case .name(.storage(let type)) = parts[1], let key = parts[2].text,
      let count = parts[4].int, count >= 0
    else { throw bad("a reference names no storage") }
    stack.append(.storage(PickleStorage(type: type, key: key, count: count)))
  }

  private mutating func rebuild(
    _ function: PickleValue, _ arguments: PickleValue
  ) throws(FormatError) {
    guard case .name(let name) = function, let values = arguments.tuple else {
      throw bad("a call without a function")
    }
    switch name {
    case .orderedDictionary:
      guard values.isEmpty else { throw refused("an OrderedDict made from values") }
      stack.append(.dictionary(box()))
    case .rebuildTensor:
      guard values.count >= 4, case .storage(let storage) = values[0], let offset = values[1].int,
        let sizes = values[2].sizes, let strides = values[3].sizes
      else { throw bad("a tensor is not described as torch does") }
      stack.append(
        .tensor(PickleTensor(storage: storage, offset: offset, sizes: sizes, strides: strides)))
    case .rebuildParameter:
      guard let data = values.first, case .tensor = data else {
        throw bad("a parameter has no tensor")
      }
      stack.append(data)
    case .size:
      guard let sizes = values.first, sizes.sizes != nil else { throw bad("a size is no tuple") }
      stack.append(sizes)
    case .storage: throw refused("a storage made from values")
    }
  }
}
