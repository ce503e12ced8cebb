internal import CQwen
internal import Glibc
internal import Synchronization

/// Live objects behind handles: a handle is a place, a generation and a kind, never an address.
///
/// So a closed, foreign or invented handle is an error and nothing is ever dereferenced.
final class HandleTable<Object: AnyObject & Sendable>: Sendable {
  private struct Slot {
    var generation: UInt32 = 1
    var object: Object?
    /// The process that opened it.
    var process: pid_t = 0
  }

  private struct State {
    var slots: [Slot] = []
    var free: [Int] = []
  }

  private let kind: UInt
  private let noun: String
  private let state = Mutex(State())

  /// `kind` tells the handles of one table from those of another.
  init(kind: UInt, noun: String) {
    self.kind = kind
    self.noun = noun
  }

  /// Live handles.
  var count: Int { state.withLock { $0.slots.count - $0.free.count } }

  /// Enters an object and returns its handle.
  func insert(_ object: Object) -> OpaquePointer? {
    let process = getpid()
    return unsafe state.withLock { state in
      let index: Int
      if let free = state.free.popLast() {
        index = free
      } else {
        index = state.slots.count
        state.slots.append(Slot())
      }
      state.slots[index].object = object
      state.slots[index].process = process
      return unsafe OpaquePointer(bitPattern: encode(index, state.slots[index].generation))
    }
  }

  /// The object of a handle.
  func find(_ handle: OpaquePointer?) throws(CallError) -> Object {
    let found: (Object, pid_t)? = state.withLock { state in
      guard let index = unsafe decode(handle, state), let object = state.slots[index].object else {
        return nil
      }
      return (object, state.slots[index].process)
    }
    guard let (object, process) = found else {
      throw CallError(
        QWEN_ERROR_HANDLE, "not a live \(noun) handle", hint: "was it closed, or never opened?")
    }
    guard process == getpid() else {
      throw CallError(
        QWEN_ERROR_FORKED, "this \(noun) was opened before fork()",
        hint: "open the \(noun) again in the child process")
    }
    return object
  }

  /// Takes the object out; its handle is dead from now on. Nil if it was not live.
  func remove(_ handle: OpaquePointer?) -> Object? {
    state.withLock { state in
      guard let index = unsafe decode(handle, state), let object = state.slots[index].object else {
        return nil
      }
      state.slots[index].object = nil
      state.slots[index].generation = state.slots[index].generation &+ 1
      if state.slots[index].generation & 0xFFFFFF == 0 { state.slots[index].generation = 1 }
      state.free.append(index)
      return object
    }
  }

  private func encode(_ index: Int, _ generation: UInt32) -> UInt {
    kind << 56 | UInt(generation & 0xFFFFFF) << 32 | UInt(index + 1)
  }

  private func decode(_ handle: OpaquePointer?, _ state: borrowing State) -> Int? {
    let bits = UInt(bitPattern: handle)
    let index = Int(bits & 0xFFFF_FFFF) - 1
    guard bits >> 56 == kind, index >= 0, index < state.slots.count,
      UInt(state.slots[index].generation & 0xFFFFFF) == bits >> 32 & 0xFFFFFF
    else { return nil }
    return index
  }
}

let models = HandleTable<ModelCell>(kind: 0x4D, noun: "model")
let samplers = HandleTable<SamplerCell>(kind: 0x50, noun: "sampler")
let batches = HandleTable<BatchCell>(kind: 0x42, noun: "batch")
let sessions = HandleTable<SessionCell>(kind: 0x53, noun: "session")
