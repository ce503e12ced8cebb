/// What the pickle of a checkpoint may hold. Everything else is refused while it is read.
enum PickleValue: Sendable {
  case none
  case bool(Bool)
  case int(Int)
  case text(String)
  /// A literal that no tensor needs: a float, bytes.
  case other
  case tuple(PickleTuple)
  case list(PickleBox)
  case dictionary(PickleBox)
  case name(PickleName)
  case storage(PickleStorage)
  case tensor(PickleTensor)
  case mark

  /// How deep tuples lie in each other here.
  var depth: Int { if case .tuple(let tuple) = self { tuple.depth } else { 0 } }

  var int: Int? { if case .int(let value) = self { value } else { nil } }
  var text: String? { if case .text(let value) = self { value } else { nil } }
  var tuple: [PickleValue]? { if case .tuple(let value) = self { value.items } else { nil } }

  /// The integers of a tuple of integers.
  var sizes: [Int]? {
    guard let items = tuple else { return nil }
    var sizes: [Int] = []
    for item in items {
      guard let size = item.int else { return nil }
      sizes.append(size)
    }
    return sizes
  }
}

/// An immutable sequence that knows its depth, which is limited: freeing it recurses.
struct PickleTuple: Sendable {
  let items: [PickleValue]
  let depth: Int

  static let depthLimit = 32

  init?(_ items: [PickleValue]) {
    depth = 1 + (items.lazy.map(\.depth).max() ?? 0)
    guard depth <= PickleTuple.depthLimit else { return nil }
    self.items = items
  }
}

/// A list or a dictionary: shared, and changed after it was shared.
///
/// Boxes may hold each other in circles; the machine that made them empties all of them when it ends.
/// Used by one thread.
final class PickleBox: @unchecked Sendable {
  /// Of a list.
  var items: [PickleValue] = []
  /// Of a dictionary, in order of insertion; a name may come again, the last counts.
  var members: [(name: String, value: PickleValue)] = []
}

/// A storage that the pickle refers to by key: one entry of the archive.
struct PickleStorage: Sendable {
  /// Element type as safetensors names it.
  let type: String
  let key: String
  let count: Int
}

/// A tensor as the pickle describes it; nothing is checked yet.
struct PickleTensor: Sendable {
  let storage: PickleStorage
  let offset: Int
  let sizes: [Int]
  let strides: [Int]
}

/// The names of functions and classes that take part in rebuilding tensors.
enum PickleName: Sendable, Equatable {
  case orderedDictionary
  case rebuildTensor
  case rebuildParameter
  case size
  /// A storage of elements, named as in safetensors.
  case storage(String)

  /// Nil for every other name.
  init?(module: String, name: String) {
    switch (module, name) {
    case ("collections", "OrderedDict"): self = .orderedDictionary
    case ("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_tensor"):
      self = .rebuildTensor
    case ("torch._utils", "_rebuild_parameter"): self = .rebuildParameter
    case ("torch", "Size"): self = .size
    case ("torch", "DoubleStorage"): self = .storage("F64")
    case ("torch", "FloatStorage"): self = .storage("F32")
    case ("torch", "HalfStorage"): self = .storage("F16")
    case ("torch", "BFloat16Storage"): self = .storage("BF16")
    case ("torch", "LongStorage"): self = .storage("I64")
    case ("torch", "IntStorage"): self = .storage("I32")
    case ("torch", "ShortStorage"): self = .storage("I16")
    case ("torch", "CharStorage"): self = .storage("I8")
    case ("torch", "ByteStorage"): self = .storage("U8")
    case ("torch", "BoolStorage"): self = .storage("BOOL")
    default: return nil
    }
  }
}
