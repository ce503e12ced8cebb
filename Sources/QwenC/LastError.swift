internal import Glibc

/// The last failure of each thread, as C strings that live until the thread's next call.
enum LastError {
  /// Sentence and JSON of one thread; freed when the thread ends.
  @safe private final class Texts {
    var sentence: UnsafeMutablePointer<CChar>?
    var json: UnsafeMutablePointer<CChar>?

    deinit { clear() }

    func clear() {
      unsafe free(sentence)
      unsafe free(json)
      unsafe sentence = nil
      unsafe json = nil
    }
  }

  private static let key: pthread_key_t = {
    var key = pthread_key_t()
    _ = unsafe pthread_key_create(&key) { value in
      if let value = unsafe value { unsafe Unmanaged<Texts>.fromOpaque(value).release() }
    }
    return key
  }()

  private static func texts(create: Bool) -> Texts? {
    if let value = unsafe pthread_getspecific(key) {
      return unsafe Unmanaged<Texts>.fromOpaque(value).takeUnretainedValue()
    }
    guard create else { return nil }
    let texts = Texts()
    _ = unsafe pthread_setspecific(key, Unmanaged.passRetained(texts).toOpaque())
    return texts
  }

  /// Remembers a failure for the calling thread.
  static func set(_ error: CallError) {
    guard let texts = texts(create: true) else { return }
    texts.clear()
    unsafe texts.sentence = strdup(error.message)
    unsafe texts.json = strdup(error.json)
  }

  static var sentence: UnsafePointer<CChar>? {
    unsafe UnsafePointer(texts(create: false)?.sentence)
  }

  static var json: UnsafePointer<CChar>? { unsafe UnsafePointer(texts(create: false)?.json) }
}
