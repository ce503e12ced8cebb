package import QwenFormats
internal import QwenModel
internal import QwenTensor

/// Writes a model in other storage formats: a GGUF file, or a folder of our own that maps in as it is.
package struct Conversion {
  private let path: String
  private let outPath: String
  private let policy: WeightPolicy
  /// Which matrices of a folder are interleaved.
  private let packing: PackingRule?
  private let replaces: Bool
  private let isFile: Bool
  private let model: Model
  private let network: LanguageModel
  private let progress: ((String, Double) -> Bool)?

  /// Opens the model at `path`, which stays mapped; `options` is a checked object of the table `convert`.
  package init(
    path: String, to outPath: String, options: JSONObject,
    progress: ((String, Double) -> Bool)? = nil
  ) throws(EngineError) {
    self.path = path
    self.outPath = outPath
    self.progress = progress
    replaces = options["overwrite"]?.bool ?? false
    let rules: [String: PackingRule] = ["auto": .whereFaster, "on": .all]
    packing = rules[options["pack"]?.string ?? "off"]
    switch options["container"]?.string {
    case "gguf": isFile = true
    case "folder": isFile = false
    default: isFile = outPath.hasSuffix(".gguf")
    }
    if isFile, packing != nil {
      throw EngineError(
        .option, "option \"pack\": a GGUF file holds rows as they are", key: "pack",
        hint: "leave it out, or write a folder: a name that does not end in .gguf")
    }
    var policy = WeightPolicy(options: options)
    // In a file nothing is left to map as stored: embeddings go with the head.
    if options["embeddings"] == nil, let head = policy.head {
      policy.embedding = head
      policy.keepsNarrow.insert(.embedding)
    }
    if options["rounding"] == nil { policy.effort = .best }
    self.policy = policy
    do {
      if !replaces { try OutputFile.refuseExisting(outPath) }
    } catch { throw EngineError(error) }
    // Rows are written as they are, not as they multiply fastest.
    let open: JSONObject = ["threads": options["threads"] ?? 0, "pack": "off"]
    model = try Model(path: path, options: open, use: .conversion, progress: progress)
    guard let network = model.network else { throw EngineError(.internal, "no weights were read") }
    self.network = network
  }

  /// Writes it. Until it is whole it has another name, and a failure leaves nothing behind.
  package func run() throws(EngineError) {
    do {
      switch (try ModelFiles.open(path: path, mode: .map, layout: BlockLayout.of), isFile) {
      case (.gguf(let file), true): try writeFile(try metadata(of: file))
      case (.folder(let folder), true): try writeFile(try metadata(of: folder))
      case (.folder(let folder), false): try writeFolder(folder)
      case (.gguf, false):
        throw EngineError(
          .unsupported, "a folder can't be made from a GGUF file, which lacks its tokenizer files",
          hint: "write a .gguf file")
      }
    } catch let error as EngineError {
      throw error
    } catch let error as FormatError {
      throw EngineError(error)
    } catch let error as TensorError {
      throw EngineError(error)
    } catch {
      throw EngineError(.internal, "\(error)")
    }
  }

  // MARK: - GGUF

  private func writeFile(_ metadata: [(key: String, value: GGUFOutput)]) throws {
    for (key, part) in [
      ("weights", WeightPart.layers), ("head", .head), ("embeddings", .embedding),
    ] {
      if let format = policy.format(part), format.ggmlType == nil {
        throw EngineError(
          .option, "option \"\(key)\": a GGUF file can't hold \(format.name)", key: key,
          hint: "write a folder: a name that does not end in .gguf")
      }
    }
    let tensors = try network.export(for: .gguf).map {
      try PlannedTensor(
        $0, policy, path: outPath, where: { $0.ggmlType != nil }, routers: .f32)
    }
    var metadata = metadata
    if let type = mostly(tensors)?.ggmlType.flatMap({ GGUFWriter.fileType(mostly: $0) }) {
      metadata.append(("general.file_type", .u32(type)))
    }
    metadata.append(("general.quantization_version", .u32(2)))
    let output = try OutputFile(path: outPath, replaces: replaces)
    let writer = try GGUFWriter(
      output, metadata: metadata,
      tensors: tensors.map {
        GGUFWriter.Tensor(
          name: $0.tensor.name, shape: $0.shape, type: $0.format?.ggmlType ?? 0,
          byteCount: $0.byteCount)
      })
    try stream(tensors) { (tensor, stream) throws(FormatError) in
      try unsafe stream.write(tensor) { (bytes) throws(FormatError) in
        try unsafe writer.write(bytes)
      }
      try writer.endTensor()
    }
    try writer.commit()
  }

  private func metadata(of folder: Folder) throws -> [(key: String, value: GGUFOutput)] {
    let facts = try VocabularyFacts(folder, model.tokenizer, model.configuration.family)
    let name = folder.path.split(separator: "/").last.map(String.init) ?? "model"
    var pairs = try model.configuration.ggufMetadata(path: outPath)
    pairs.insert(("general.name", .string(name)), at: 1)
    return pairs + facts.metadata(model.tokenizer, rows: model.configuration.vocabularyRows)
  }

  /// Everything that another file says and that stays true.
  private func metadata(of file: GGUFFile) throws -> [(key: String, value: GGUFOutput)] {
    let changed = ["general.file_type", "general.quantization_version", "general.alignment"]
    return file.metadataBytes.filter {
      !changed.contains($0.key) && !$0.key.hasPrefix("split.") && !$0.key.hasPrefix("quantize.")
    }.map { ($0.key, .raw($0.region)) }
  }

  /// The format of most bytes of the layers.
  private func mostly(_ tensors: [PlannedTensor]) -> StorageFormat? {
    var sums: [String: Int] = [:]
    for tensor in tensors {
      if case .rows(_, part: .layers) = tensor.tensor.source, let format = tensor.format {
        sums[format.name, default: 0] += tensor.byteCount
      }
    }
    let name = sums.max { ($0.value, $0.key) < ($1.value, $1.key) }?.key
    return name.flatMap { StorageFormat.named($0) }
  }

  // MARK: - Folder

  private func writeFolder(_ folder: Folder) throws {
    var tensors = try network.export(for: .folder).map {
      try PlannedTensor(
        $0, policy, path: outPath, where: { _ in true }, routers: nil,
        packing: model.configuration.headDim % 16 == 0 ? packing : nil)
    }
    // Where values go back to the places of their inputs there is nothing to tell.
    let ordered = Set(tensors.filter(\.keepsOrder).map(\.tensor.name))
    tensors.removeAll {
      if case .order(_, let name) = $0.tensor.source { !ordered.contains(name) } else { false }
    }
    let output = try OutputFolder(path: outPath, replaces: replaces)
    for name in try folder.names() where OutputFolder.isText(name) {
      try output.copy(name, from: folder)
    }
    try output.write("config.json", try config(folder))
    let file = try output.file("model.safetensors")
    try SafetensorsHeader.write(
      file,
      tensors.map {
        SafetensorsHeader.Tensor(
          name: $0.tensor.name, shape: $0.shape, format: $0.noted.name, type: $0.noted.type,
          byteCount: $0.byteCount)
      })
    try stream(tensors) { (tensor, stream) throws(FormatError) in
      try unsafe stream.write(tensor) { (bytes) throws(FormatError) in try unsafe file.write(bytes)
      }
    }
    try file.commit()
    try output.commit()
  }

  /// The folder's config.json without what another quantisation said.
  private func config(_ folder: Folder) throws(FormatError) -> [UInt8] {
    var config = try folder.object("config.json") ?? JSONObject()
    config["quantization_config"] = nil
    config["libqwen"] = [
      "packed": 1, "weights": .string(policy.layers?.word ?? WeightPolicy.storedWord),
    ]
    return Array((JSONValue.object(config).serialized(pretty: true) + "\n").utf8)
  }

  private func stream(
    _ tensors: [PlannedTensor],
    _ body: (PlannedTensor, TensorStream) throws(FormatError) -> Void
  ) throws {
    let threads = model.settings.threads
    var meter: InputMeter?
    if policy.effort == .best, tensors.contains(where: \.usesImportance) {
      meter = try network.meter(threads: threads) { progress?("measure", $0) ?? true }
    }
    let total = max(1, tensors.reduce(0) { $0 + $1.sourceBytes })
    var done = 0
    let stream = TensorStream(
      converter: Converter(threads: threads, effort: policy.effort), meter: meter, path: outPath
    ) { bytes in
      done += bytes
      return progress?("convert", min(1, Double(done) / Double(total))) ?? true
    }
    for tensor in tensors { try body(tensor, stream) }
  }
}
