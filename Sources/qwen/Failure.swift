import CQwen

/// What ends a command early: a sentence for stderr and the exit code of the process.
struct Failure: Error {
  let message: String
  let code: Int32
  /// The library's status, or `QWEN_OK` when the command itself found the mistake.
  let status: qwen_status

  /// A mistake in the command line: exit code 2.
  static func usage(_ message: String) -> Failure {
    Failure(message: message, code: 2, status: qwen_status(QWEN_OK))
  }

  /// Anything else the command noticed by itself: exit code 1.
  static func general(_ message: String) -> Failure {
    Failure(message: message, code: 1, status: qwen_status(QWEN_OK))
  }

  /// The library refused: its own sentence, or the status' name if it left none.
  static func library(_ status: qwen_status) -> Failure {
    let sentence = String(cString: qwen_last_error())
    let name = String(cString: qwen_status_name(status))
    return Failure(message: sentence.isEmpty ? name : sentence, code: 1, status: status)
  }
}

/// Throws the library's sentence unless `status` is `QWEN_OK`.
func check(_ status: qwen_status) throws(Failure) {
  if status != qwen_status(QWEN_OK) { throw .library(status) }
}

/// The entry of `names` closest to `word`, if it is close enough to be a slip of the keyboard.
func nearest(_ word: String, in names: [String]) -> String? {
  var best: String?
  var bestDistance = max(2, word.utf8.count / 3) + 1
  for name in names {
    let distance = editDistance(Array(word.utf8), Array(name.utf8))
    if distance < bestDistance { (best, bestDistance) = (name, distance) }
  }
  return best
}

/// Levenshtein distance in bytes; O(a * b) time, O(b) memory.
private func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
  var previous = Array(0...b.count)
  for (i, left) in a.enumerated() {
    var current = [i + 1]
    for (j, right) in b.enumerated() {
      current.append(
        min(previous[j] + (left == right ? 0 : 1), previous[j + 1] + 1, current[j] + 1))
    }
    previous = current
  }
  return previous[b.count]
}
