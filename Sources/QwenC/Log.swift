internal import CQwen
internal import Synchronization

/// The host's log. Silent until the host asks.
enum Log {
  @safe private struct Target {
    var callback: qwen_log_callback?
    var user: UInt
    var level: Int32
  }

  private static let target = Mutex<Target?>(nil)
  /// The level asked for; 0 for silence.
  private static let level = Atomic<Int32>(0)

  /// Sends lines up to `level` to `callback`; nil for none.
  static func set(_ callback: qwen_log_callback?, _ user: UnsafeMutableRawPointer?, _ level: Int32)
  {
    let isOn = unsafe callback != nil
    target.withLock { target in
      unsafe target =
        isOn ? Target(callback: callback, user: UInt(bitPattern: user), level: level) : nil
    }
    Log.level.store(isOn ? level : 0, ordering: .relaxed)
  }

  /// Hands a line to the host if it wants it; made only then.
  static func write(_ level: Int, _ line: () -> String) {
    guard Int32(level) <= Log.level.load(ordering: .relaxed) else { return }
    // Called outside of the lock: what the host does with it is its own affair.
    guard let now = target.withLock({ $0 }), let callback = unsafe now.callback else {
      return
    }
    let user = unsafe UnsafeMutableRawPointer(bitPattern: now.user)
    unsafe line().withCString { unsafe callback(Int32(level), $0, user) }
  }
}
