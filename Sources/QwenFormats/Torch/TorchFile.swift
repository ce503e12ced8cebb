/// Reads checkpoints that torch.save wrote as zip archives: a pickle that describes tensors, and their
/// storages as entries of their own, which are used where they lie.
enum TorchFile {
  /// First bytes of the format that torch wrote before version 1.6: a pickled magic number.
  private static let oldMagic: [UInt8] = [
    0x80, 0x02, 0x8A, 0x0A, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19,
  ]
  /// Longest description of tensors that is read.
  private static let pickleLimit = 64 << 20

  /// The tensors of one file in the order of its dictionary.
  static func read(_ file: FileBytes) throws(FormatError) -> [TensorEntry] {
    try Stray.refuse(file)
    guard ZipArchive.isZip(file) else {
      let isOld = file.all.starts(with: oldMagic)
      throw FormatError(
        isOld ? .unsupported : .malformed, path: file.path,
        isOld
          ? "is in the format that torch wrote before version 1.6"
          : "is no checkpoint that torch.save wrote",
        hint: isOld ? "load and save it with a newer torch" : "download it again")
    }
    guard ZipArchive.hasEnd(file) else { throw cut(file) }
    let archive = try ZipArchive(file)
    guard let pickle = archive.only(endingWith: "/data.pkl") else {
      throw FormatError(
        .malformed, path: file.path, "has no data.pkl, which describes the tensors",
        hint: "is this a checkpoint of torch?")
    }
    let prefix = String(pickle.name.dropLast("data.pkl".count))
    if let order = archive.bytes(prefix + "byteorder"), order.repairedText() != "little" {
      throw FormatError(
        .unsupported, path: file.path, "was written on a big-endian machine",
        hint: "load and save it on another machine")
    }
    guard pickle.bytes.count <= pickleLimit else {
      throw FormatError(
        .limit, path: file.path, "its description of tensors has \(pickle.bytes.count) bytes")
    }
    var entries: [TensorEntry] = []
    for (name, tensor) in try PickleMachine.tensors(pickle.bytes) {
      entries.append(try entry(name, tensor, archive, prefix, file.path))
    }
    return entries
  }

  /// The error of a file that ends too early: what its tensors need, if their description is still there.
  private static func cut(_ file: FileBytes) -> FormatError {
    var needed = ""
    if let first = ZipArchive.first(file), first.name.hasSuffix("/data.pkl"),
      let tensors = try? PickleMachine.tensors(first.bytes)
    {
      var sizes: [String: Int] = [:]
      for (_, tensor) in tensors {
        let width = (SafetensorsFile.elementBits(tensor.storage.type) ?? 0) / 8
        sizes[tensor.storage.key] = checkedProduct(tensor.storage.count, width)
      }
      let total = sizes.values.reduce(0) { checkedSum($0, $1) ?? Int.max }
      needed = ", its \(tensors.count) tensors alone have \(total)"
    }
    return FormatError(
      .malformed, path: file.path, "has \(file.count) bytes and no end\(needed)",
      hint: "the download is incomplete, download it again")
  }

  private static func entry(
    _ name: String, _ tensor: PickleTensor, _ archive: ZipArchive, _ prefix: String, _ path: String
  ) throws(FormatError) -> TensorEntry {
    let (storage, sizes) = (tensor.storage, tensor.sizes)
    func bad(_ message: String) -> FormatError {
      FormatError(
        .malformed, path: path, "tensor \"\(escaped(name))\" \(message)",
        hint: "the file is damaged, download it again")
    }
    guard let data = archive.bytes("\(prefix)data/\(storage.key)") else {
      throw bad("lies in storage \"\(escaped(storage.key))\", which the file does not have")
    }
    guard let width = SafetensorsFile.elementBits(storage.type).map({ $0 / 8 }),
      let held = checkedProduct(storage.count, width), held <= data.count
    else { throw bad("has \(data.count) bytes of storage, not \(storage.count) \(storage.type)") }
    guard tensor.offset >= 0, sizes.count == tensor.strides.count,
      let count = checkedProduct(sizes), let start = checkedProduct(tensor.offset, width),
      let bytes = checkedProduct(count, width), start <= held, bytes <= held - start
    else { throw bad("of \(sizes) from \(tensor.offset) lies outside its storage") }
    guard isContiguous(sizes, tensor.strides) else {
      throw FormatError(
        .unsupported, path: path,
        "tensor \"\(escaped(name))\" of \(sizes) lies in memory with strides \(tensor.strides)",
        hint: "call .contiguous() on it before saving")
    }
    return TensorEntry(
      name: name, type: .named(storage.type), shape: sizes,
      region: try data.region(offset: start, count: bytes))
  }

  /// Whether rows follow one another; the strides of single and of no elements don't matter.
  private static func isContiguous(_ sizes: [Int], _ strides: [Int]) -> Bool {
    if sizes.contains(0) { return true }
    var expected = 1
    for (size, stride) in zip(sizes.reversed(), strides.reversed()) where size != 1 {
      if stride != expected { return false }
      expected *= size
    }
    return true
  }
}
