/// Names of the files of a model that was cut into several: `name-00002-of-00003.gguf`, counted from 1.
struct GGUFParts {
  private static let ending = ".gguf"
  private static let digits = 5
  /// What stands before the dash in front of the number.
  private let stem: String
  let count: Int

  /// The parts that a file of this name belongs to; nil if it is not named like one.
  init?(of name: String) {
    let tail = "-00001-of-00001.gguf".utf8.count
    let bytes = Array(name.utf8)
    guard bytes.count > tail else { return nil }
    let end = String(decoding: bytes.suffix(tail), as: UTF8.self)
    let fields = end.dropLast(GGUFParts.ending.count).split(
      separator: "-", omittingEmptySubsequences: false)
    guard end.hasSuffix(GGUFParts.ending), fields.count == 4, fields[0].isEmpty, fields[2] == "of",
      let number = GGUFParts.number(fields[1]), let count = GGUFParts.number(fields[3]),
      number >= 1, number <= count
    else { return nil }
    stem = String(decoding: bytes.dropLast(tail), as: UTF8.self)
    self.count = count
  }

  /// Name of the part with this number, from 0 on.
  func name(_ number: Int) -> String {
    "\(stem)-\(GGUFParts.padded(number + 1))-of-\(GGUFParts.padded(count))\(GGUFParts.ending)"
  }

  private static func number(_ text: Substring) -> Int? {
    guard text.utf8.count == digits, text.utf8.allSatisfy({ (48...57).contains($0) }) else {
      return nil
    }
    return Int(text)
  }

  private static func padded(_ number: Int) -> String {
    let text = "\(number)"
    return String(repeating: "0", count: max(0, digits - text.utf8.count)) + text
  }
}

extension GGUFFile {
  /// Opens a model of one file, or of several, whichever of them `path` names.
  ///
  /// Parts say so under `split.no` (from 0), `split.count` and `split.tensors.count`, and lie beside each other under
  /// their numbers. Metadata is that of the first.
  static func open(
    _ file: FileBytes, progress: LoadProgress?, layout: (UInt32) -> BlockLayout?
  ) throws(FormatError) -> GGUFFile {
    let named = try GGUFFile(file, layout: layout)
    guard let part = try named.part() else { return named }
    let (folder, name) = Folder.parent(of: file.path)
    guard let parts = GGUFParts(of: name), parts.count == part.count,
      parts.name(part.number) == name
    else {
      throw FormatError(
        .unsupported, path: file.path,
        "is part \(part.number + 1) of \(part.count) by another name",
        hint: "give the parts their names again: ...-00001-of-00003.gguf is the first of three")
    }
    let missing = (0..<parts.count).map(parts.name).filter { !folder.has($0) }
    if let first = missing.first {
      if folder.hasBrokenLink(first) { throw folder.brokenLink(first) }
      throw FormatError(
        .missing, path: file.path,
        "\(missing.count) of its \(parts.count) parts \(missing.count == 1 ? "is" : "are") missing: \(escapedList(missing))",
        hint: "download all parts into the same folder")
    }
    var files: [GGUFFile] = []
    for number in 0..<parts.count {
      if number == part.number {
        files.append(named)
        continue
      }
      let bytes = try FileBytes(
        path: folder.path(parts.name(number)), mode: file.mode, progress: progress)
      try Stray.refuse(bytes)
      files.append(try GGUFFile(bytes, layout: layout))
      try files[number].require(number, of: parts.count)
    }
    return try GGUFFile(parts: files)
  }

  /// Throws unless this is the part with that number.
  private func require(_ number: Int, of count: Int) throws(FormatError) {
    let said = try part()
    if said?.number == number, said?.count == count { return }
    throw FormatError(
      .malformed, path: path,
      said.map { "says that it is part \($0.number + 1) of \($0.count)" }
        ?? "does not say that it is a part",
      hint: "the parts don't belong together, download them again")
  }

  /// Which part this file is, from 0 on, and of how many; nil if it is the whole.
  private func part() throws(FormatError) -> (number: Int, count: Int)? {
    guard let count = metadata["split.count"]?.int, count > 1 else { return nil }
    guard let number = metadata["split.no"]?.int, number >= 0, number < count else {
      throw FormatError(
        .malformed, path: path, "is one of \(count) parts, and \"split.no\" does not say which",
        hint: "download it again")
    }
    return (number, count)
  }

  /// One model of all its parts.
  private init(parts: [GGUFFile]) throws(FormatError) {
    let first = parts[0]
    let tensors = try TensorArchive(path: first.path, entries: parts.flatMap(\.tensors.entries))
    if let wanted = first.metadata["split.tensors.count"]?.int, wanted != tensors.entries.count {
      throw FormatError(
        .malformed, path: first.path,
        "its \(parts.count) parts have \(tensors.entries.count) tensors of \(wanted)",
        hint: "the parts don't belong together, download them again")
    }
    self.init(first, tensors: tensors)
  }
}
