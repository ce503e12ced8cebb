import CQwen
import Glibc

/// Ctrl-C for the interactive chat: ends the answer that is under way, never the process.
///
/// The handler stores a flag and calls `qwen_session_cancel`, which is safe in a signal handler.
/// Plain words are enough: handler and reader run in one thread or see aligned single stores.
enum Interrupt {
  nonisolated(unsafe) private static let flag = UnsafeMutablePointer<sig_atomic_t>.allocate(
    capacity: 1)
  nonisolated(unsafe) private static let session = UnsafeMutablePointer<qwen_session?>.allocate(
    capacity: 1)
  nonisolated(unsafe) private static var isInstalled = false

  /// Whether Ctrl-C came since `clear()`. False where the handler was never installed.
  static var isPending: Bool { isInstalled && flag.pointee != 0 }

  static func clear() { flag.pointee = 0 }

  /// From now on Ctrl-C sets the flag and cancels the runs of `handle`, if there is one.
  static func install(for handle: qwen_session?) {
    flag.initialize(to: 0)
    session.initialize(to: handle)
    isInstalled = true
    setHandler(handleInterrupt)
  }

  /// Ctrl-C ends the process again.
  static func remove() {
    setHandler(SIG_DFL)
    isInstalled = false
  }

  /// Without SA_RESTART, so that a wait for input ends as well.
  private static func setHandler(_ handler: (@convention(c) (Int32) -> Void)?) {
    var action = sigaction()
    action.__sigaction_handler.sa_handler = handler
    sigemptyset(&action.sa_mask)
    sigaction(SIGINT, &action, nil)
  }

  fileprivate static func raise() {
    flag.pointee = 1
    if let handle = session.pointee { _ = qwen_session_cancel(handle) }
  }
}

private func handleInterrupt(_ signal: Int32) {
  let saved = errno
  Interrupt.raise()
  errno = saved
}
