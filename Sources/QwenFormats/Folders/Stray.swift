/// Recognises what lies where weights should: pointers and links that a download left, pages of errors.
enum Stray {
  /// Longest pointer that git-LFS writes, and then some.
  private static let pointerLimit = 1024

  /// Throws for no bytes at all, and for what `refuseStandIn` knows.
  static func refuse(_ file: FileBytes) throws(FormatError) {
    guard file.count > 0 else {
      throw FormatError(
        .malformed, path: file.path, "is empty: 0 bytes", hint: "download it again")
    }
    try refuseStandIn(file)
  }

  /// Throws for a git-LFS pointer, the text of a link or a web page, saying what it stands for.
  static func refuseStandIn(_ file: FileBytes) throws(FormatError) {
    if file.all.starts(with: Array("version https://git-lfs".utf8)) { throw pointer(file) }
    if file.count <= pointerLimit, file.all.starts(with: Array("../../blobs/".utf8)) {
      throw FormatError(
        .missing, path: file.path,
        "is the text of a link into a cache of Hugging Face, \(file.count) bytes, not the file",
        hint: "copy the snapshot with its links followed (cp -rL), or download it again")
    }
    for start in ["<!DOCTYPE", "<!doctype", "<html", "<HTML"]
    where file.all.starts(with: Array(start.utf8)) {
      throw FormatError(
        .malformed, path: file.path, "is a web page of \(file.count) bytes, not the file",
        hint: "download it with the hub's own program; a sign-in may be needed")
    }
  }

  /// The small text file that git leaves where a large one was not fetched.
  private static func pointer(_ file: FileBytes) -> FormatError {
    let lines = file.count <= pointerLimit ? file.all.repairedText().split(separator: "\n") : []
    let size = lines.first { $0.hasPrefix("size ") }.flatMap { Int($0.dropFirst(5)) }
    let expected = size.map { "the \($0) bytes it stands for" } ?? "what it stands for"
    return FormatError(
      .missing, path: file.path,
      "is a git-LFS pointer of \(file.count) bytes, \(expected) were not fetched",
      hint: "run git lfs pull in the folder, or download the file itself")
  }
}
