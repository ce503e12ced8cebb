/// Reads the directory of a zip archive whose entries are stored, not compressed: what torch writes.
///
/// Source: PKWARE's APPNOTE, sections 4.3 and 4.5 (zip64). Checksums are not computed.
package struct ZipArchive: Sendable {
  /// One file in the archive.
  struct Entry: Sendable {
    let name: String
    let bytes: ByteRegion
  }

  private let file: FileBytes
  private let entries: [String: Entry]

  private static let localSignature: UInt32 = 0x0403_4B50
  private static let centralSignature: UInt32 = 0x0201_4B50
  private static let endSignature: UInt32 = 0x0605_4B50
  private static let locatorSignature: UInt32 = 0x0706_4B50
  private static let end64Signature: UInt32 = 0x0606_4B50
  /// The fixed part of the end record, and the longest comment behind it.
  private static let endSize = 22
  private static let commentLimit = 65535

  /// Whether a file starts as a zip archive does.
  static func isZip(_ file: FileBytes) -> Bool {
    file.all.starts(with: [0x50, 0x4B, 0x03, 0x04])
  }

  /// Reads the directory; `FormatError.malformed` where it contradicts the file.
  init(_ file: FileBytes) throws(FormatError) {
    self.file = file
    let directory = try ZipArchive.findDirectory(file)
    guard directory.offset <= file.count, directory.size <= file.count - directory.offset else {
      throw FormatError(
        .malformed, path: file.path,
        "its directory of \(directory.size) bytes at \(directory.offset) lies outside the file",
        hint: "download it again")
    }
    // The shortest entry has 46 bytes.
    guard directory.count <= directory.size / 46 else {
      throw FormatError(
        .malformed, path: file.path, offset: directory.offset,
        "its directory can't hold \(directory.count) entries", hint: "download it again")
    }
    var reader = ByteReader(try file.region(offset: directory.offset, count: directory.size))
    var entries = [String: Entry](minimumCapacity: directory.count)
    for _ in 0..<directory.count {
      let entry = try ZipArchive.readEntry(&reader, file, limit: directory.offset)
      if entries.updateValue(entry, forKey: entry.name) != nil {
        throw reader.failure("two entries are named \"\(escaped(entry.name))\"")
      }
    }
    self.entries = entries
  }

  /// Whether the file ends as a zip archive does.
  static func hasEnd(_ file: FileBytes) -> Bool { findEnd(file) != nil }

  /// The bytes of the entry of that name.
  func bytes(_ name: String) -> ByteRegion? { entries[name]?.bytes }

  /// The one entry whose name ends so, or nil if there are none or several.
  func only(endingWith suffix: String) -> Entry? {
    let found = entries.values.filter { $0.name.hasSuffix(suffix) }
    return found.count == 1 ? found[0] : nil
  }

  private struct Directory {
    var offset: Int
    var size: Int
    var count: Int
  }

  /// Finds the end record, which a comment may follow, and the zip64 one before it.
  private static func findDirectory(_ file: FileBytes) throws(FormatError) -> Directory {
    guard let end = findEnd(file) else {
      throw FormatError(
        .malformed, path: file.path,
        "has \(file.count) bytes and no directory at its end",
        hint: "the download is incomplete, download it again")
    }
    var reader = ByteReader(try file.region(offset: end, count: endSize))
    try reader.skip(8)
    let here = try reader.u16()
    var directory = Directory(offset: 0, size: 0, count: Int(try reader.u16()))
    directory.size = Int(try reader.u32())
    directory.offset = Int(try reader.u32())
    if end >= 20 {
      var locator = ByteReader(try file.region(offset: end - 20, count: 20))
      if try locator.u32() == locatorSignature {
        try locator.skip(4)
        let offset = try locator.size("the place of the zip64 record")
        var record = ByteReader(try file.region(offset: offset, count: 56))
        guard try record.u32() == end64Signature else {
          throw FormatError(
            .malformed, path: file.path, offset: offset, "there is no zip64 record here")
        }
        try record.skip(20)
        let onThisDisk = try record.size("the number of entries")
        directory.count = try record.size("the number of entries")
        directory.size = try record.size("the size of the directory")
        directory.offset = try record.size("the place of the directory")
        guard onThisDisk == directory.count else { throw isSplit(file) }
        return directory
      }
    }
    guard Int(here) == directory.count else { throw isSplit(file) }
    return directory
  }

  private static func isSplit(_ file: FileBytes) -> FormatError {
    FormatError(.unsupported, path: file.path, "is one part of a split archive")
  }

  private static func findEnd(_ file: FileBytes) -> Int? {
    let first = max(0, file.count - endSize - commentLimit)
    return unsafe file.all.withUnsafeBytes { bytes -> Int? in
      var place = file.count - endSize
      while place >= first {
        let found = unsafe bytes.loadUnaligned(fromByteOffset: place, as: UInt32.self)
        if UInt32(littleEndian: found) == endSignature {
          let length = unsafe bytes.loadUnaligned(fromByteOffset: place + 20, as: UInt16.self)
          if place + endSize + Int(UInt16(littleEndian: length)) == file.count { return place }
        }
        place -= 1
      }
      return nil
    }
  }

  /// The first entry of an archive that was cut, and everything behind its name.
  static func first(_ file: FileBytes) -> Entry? {
    var reader = ByteReader(file.all)
    do {
      try reader.skip(26)
      let (nameSize, extraSize) = (Int(try reader.u16()), Int(try reader.u16()))
      let name = try reader.bytes(nameSize).repairedText()
      try reader.skip(extraSize)
      return Entry(name: name, bytes: try reader.bytes(reader.remaining))
    } catch { return nil }
  }

  /// The values of the zip64 field for those of `wanted` that say it has them; nil if none does.
  private static func wideFields(
    _ extra: ByteRegion, wanted: [Int]
  ) throws(FormatError) -> [Int]? {
    guard wanted.contains(0xFFFF_FFFF) else { return nil }
    var reader = ByteReader(extra)
    while reader.remaining >= 4 {
      let (id, size) = (try reader.u16(), Int(try reader.u16()))
      guard id == 1 else {
        try reader.skip(size)
        continue
      }
      var field = ByteReader(try reader.bytes(size))
      var values: [Int] = []
      for value in wanted {
        values.append(value == 0xFFFF_FFFF ? try field.size("a zip64 value") : value)
      }
      return values
    }
    return nil
  }

  private static func readEntry(
    _ reader: inout ByteReader, _ file: FileBytes, limit: Int
  ) throws(FormatError) -> Entry {
    let place = reader.offset
    guard try reader.u32() == centralSignature else {
      throw FormatError(
        .malformed, path: file.path, offset: place, "the directory has no entry here",
        hint: "download it again")
    }
    try reader.skip(4)
    let (flags, method) = (try reader.u16(), try reader.u16())
    try reader.skip(8)
    var sizes = [Int(try reader.u32()), Int(try reader.u32())]  // packed, unpacked
    let (nameSize, extraSize) = (Int(try reader.u16()), Int(try reader.u16()))
    let commentSize = Int(try reader.u16())
    try reader.skip(8)
    sizes.append(Int(try reader.u32()))
    guard let name = try reader.text(nameSize) else {
      throw reader.failure("the name of an entry is not UTF-8")
    }
    // The order in the zip64 field: unpacked, packed, place.
    let order = [sizes[1], sizes[0], sizes[2]]
    let wide = try wideFields(try reader.bytes(extraSize), wanted: order) ?? order
    try reader.skip(commentSize)
    let (size, packed, start) = (wide[0], wide[1], wide[2])
    func bad(_ message: String) -> FormatError {
      FormatError(
        .unsupported, path: file.path, offset: place, "entry \"\(escaped(name))\" \(message)",
        hint: "save the checkpoint again with torch.save, or as safetensors")
    }
    guard flags & 1 == 0 else { throw bad("is encrypted") }
    guard method == 0, size == packed else { throw bad("is compressed") }
    guard start <= limit else { throw bad("begins behind the directory") }
    var local = ByteReader(try file.region(offset: start, count: limit - start))
    guard try local.u32() == localSignature else { throw bad("is not where the directory says") }
    try local.skip(22)
    let (localName, localExtra) = (Int(try local.u16()), Int(try local.u16()))
    try local.skip(localName + localExtra)
    return Entry(name: name, bytes: try local.bytes(size))
  }
}
