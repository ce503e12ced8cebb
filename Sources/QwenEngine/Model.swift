package import QwenFormats
package import QwenModel
internal import QwenTensor
package import QwenText

/// An open model: weights, tokenizer, chat format and defaults. Immutable; any thread.
package final class Model: Sendable {
  package let path: String
  package let configuration: ModelConfiguration
  package let tokenizer: Tokenizer
  /// How to chat with it; nil for a base model.
  package var chat: ChatFormat? { chatChoice.format }
  let chatChoice: ChatChoice
  /// The weights; nil if only the vocabulary was asked for.
  let network: LanguageModel?
  let defaults: GenerationDefaults
  let settings: OpenSettings
  /// What its sessions were promised, where there is a "max_memory".
  let memory = MemoryLedger()
  /// Bytes of all weights in memory, mapped ones included.
  package let weightBytes: Int
  /// Tells this checkpoint from others; 32 hexadecimal digits.
  package let fingerprint: String
  /// Pages that its conversations share; nil if they do not.
  let prefixCache: PrefixCache?

  /// Ids from here on have no text and are never sampled.
  var usableTokens: Int { min(tokenizer.usableCount, configuration.vocabularyRows) }

  /// Tokens that end an answer where a request names none.
  var stopIDs: [Int32] {
    var ids = defaults.stopIDs
    if let eos = tokenizer.eosID { ids.append(eos) }
    ids += chat?.stopIDs ?? []
    return Array(Set(ids)).sorted()
  }

  /// What a model is opened for.
  package enum Use: Sendable {
    case running
    /// Its weights are gone through once: those that would take memory are made when they are read.
    case conversion
  }

  /// Opens a folder or a .gguf file. `progress` hears of each stage and its fraction; false stops the load.
  package init(
    path: String, options: JSONObject, use: Use = .running,
    progress: ((String, Double) -> Bool)? = nil
  ) throws(EngineError) {
    if let names = WorkerPool.instructionSetsIfUnknown {
      throw EngineError(
        .option, "LIBQWEN_ISA in the environment names no instruction set",
        key: "LIBQWEN_ISA", hint: "it takes \(names.joined(separator: ", ")), or is left unset")
    }
    var settings = OpenSettings(options)
    settings.policy.defersForeign = use == .conversion
    self.settings = settings
    self.path = path
    if settings.needsPlan { try MemoryPlan(path: path, options: options).check() }
    let shared = options["prefix_cache"]?.int ?? 0
    prefixCache = shared > 0 ? PrefixCache(limit: shared << 20) : nil
    do {
      let parts = try ModelParts.open(path, settings, progress)
      configuration = parts.configuration
      tokenizer = parts.tokenizer
      chatChoice = parts.chat
      defaults = parts.defaults
      network = parts.network
      weightBytes = parts.weightBytes
      fingerprint = parts.fingerprint
    } catch let error as EngineError {
      throw error
    } catch let error as FormatError {
      throw EngineError(error)
    } catch let error as TokenizerError {
      throw EngineError(error)
    } catch {
      throw EngineError(.internal, "\(error)")
    }
    if settings.usesOpenBLAS, OpenBLAS.shared == nil {
      throw EngineError(
        .unsupported, "libopenblas.so.0 can't be opened", key: "matmul",
        hint: "install it (apt install libopenblas0), or leave out \"matmul\"")
    }
  }
}

/// The options of opening, read.
struct OpenSettings: Sendable {
  var mode: FileBytes.Mode = .map
  var isVocabularyOnly = false
  var threads: Int
  var isExact: Bool
  /// Whether activations of weights in bfloat16 are rounded to it.
  var roundsToBFloat: Bool
  /// Whether LLM.int8() looks for outliers in all tokens of a step together.
  var sharesOutliers: Bool
  var usesOpenBLAS: Bool
  var policy: WeightPolicy
  /// Most bytes that weights and sessions may take together.
  var maximumMemory: Int?

  /// Whether opening allocates what may be too much, so that sizes are looked at first.
  var needsPlan: Bool {
    !isVocabularyOnly && (maximumMemory != nil || mode == .copy || policy.isActive)
  }
  /// Whether weights that stay as stored are pages of their files.
  var isMapped: Bool { mode == .map && !policy.copiesStored }
  /// "auto", "raw", or the name of a chat format.
  let chatFormat: String
  /// The options as they were given.
  let given: JSONObject

  init(_ options: JSONObject) {
    given = options
    chatFormat = options["chat_format"]?.string ?? "auto"
    switch options["load"]?.string {
    case "copy": mode = .copy
    case "vocabulary": isVocabularyOnly = true
    default: break
    }
    let asked = options["threads"]?.int ?? 0
    threads = min(asked > 0 ? asked : WorkerPool.processorCount, WorkerPool.maximumThreads)
    usesOpenBLAS = options["matmul"]?.string == "openblas"
    maximumMemory = options["max_memory"].flatMap(ByteSize.init)?.bytes
    isExact = options["compute"]?.string == "float32" || usesOpenBLAS
    roundsToBFloat = options["compute"]?.string == "bfloat16" && !usesOpenBLAS
    sharesOutliers = options["outliers"]?.string == "step"
    policy = WeightPolicy(options: options)
    if policy.isActive, mode == .copy {
      // A copy of what is converted anyway would only take memory: map, and copy what stays.
      mode = .map
      policy.copiesStored = true
    }
    // Copies as they are would be held twice, and floats are decoded from rows.
    let rules: [String: PackingRule] = ["auto": .whereFaster, "on": .all]
    policy.packing =
      mode == .map && !isExact ? rules[options["pack"]?.string ?? "auto"] : nil
  }
}

/// Everything that opening finds out, in the order in which it does.
private struct ModelParts {
  let configuration: ModelConfiguration
  let tokenizer: Tokenizer
  let chat: ChatChoice
  let defaults: GenerationDefaults
  let network: LanguageModel?
  let weightBytes: Int
  let fingerprint: String

  /// While a vocabulary is read, and the weights are found, pages of theirs come that the first token will want.
  static func open(
    _ path: String, _ settings: OpenSettings, _ progress: ((String, Double) -> Bool)?
  ) throws -> ModelParts {
    let reading: LoadProgress? =
      progress.map { report in
        { done, total in report("read", Double(done) / Double(max(total, 1))) }
      }
    let files = try ModelFiles.open(
      path: path, mode: settings.mode, progress: reading,
      layout: BlockLayout.of)
    try ModelParts.report("tokenizer", 0, progress)
    let configuration: ModelConfiguration
    let config: JSONObject
    var tensors: () throws -> TensorArchive
    switch files {
    case .gguf(let file):
      (configuration, config) = (try ModelConfiguration(gguf: file), JSONObject())
      tensors = { file.tensors }
    case .folder(let folder):
      config = try folder.object("config.json") ?? JSONObject()
      configuration = try ModelConfiguration(config: config, path: folder.path("config.json"))
      tensors = { try folder.tensors(mode: settings.mode, progress: reading) }
    }
    var pages: [ByteRegion] = []
    if settings.isMapped, !settings.isVocabularyOnly {
      // Headers only. What is wrong with them is told behind what is wrong with the vocabulary.
      let found = Result { try tensors() }
      tensors = { try found.get() }
      if case .success(let archive) = found {
        let streamed = WeightPlan.streamed(configuration, archive, policy: settings.policy)
        FileBytes.adviseLargePages(streamed)
        if settings.threads > 1 { pages = streamed }
      }
    }
    return try FileBytes.fetchingPages(of: pages) {
      try ModelParts(files, configuration, config, settings, tensors, progress)
    }
  }

  private init(
    _ files: ModelFiles, _ configuration: ModelConfiguration, _ config: JSONObject,
    _ settings: OpenSettings, _ tensors: () throws -> TensorArchive,
    _ progress: ((String, Double) -> Bool)?
  ) throws {
    self.configuration = configuration
    switch files {
    case .gguf(let file):
      tokenizer = try Tokenizer.gguf(file)
      defaults = GenerationDefaults(try GGUFKeys.generationConfig(file))
      chat = ChatChoice(
        ChatChoice.Evidence(
          asked: settings.chatFormat, template: file.metadata["tokenizer.chat_template"]?.string,
          family: configuration.family, defaults: defaults), tokenizer)
    case .folder(let folder):
      tokenizer = try Tokenizer.folder(folder).get()
      var found = GenerationDefaults(try folder.object("generation_config.json") ?? JSONObject())
      if found.stopIDs.isEmpty { found.stopIDs = GenerationDefaults.ids(config["eos_token_id"]) }
      defaults = found
      let dress = try folder.object("tokenizer_config.json") ?? JSONObject()
      chat = ChatChoice(
        ChatChoice.Evidence(
          asked: settings.chatFormat, template: try folder.chatTemplate(),
          family: configuration.family, defaults: defaults,
          eosText: dress["eos_token"]?.string ?? dress["eos_token"]?["content"]?.string), tokenizer)
    }
    let archive = settings.isVocabularyOnly ? nil : try tensors()
    try ModelParts.report("tokenizer", 1, progress)
    if let archive {
      network = try LanguageModel(
        configuration, archive, policy: settings.policy, threads: settings.threads,
        hasMemory: { bytes in MachineMemory.now().canSpare(bytes) }
      ) { fraction in progress?("weights", fraction) ?? true }
      weightBytes = try WeightPlan(
        configuration, archive, isMapped: settings.isMapped, policy: settings.policy
      ).byteCount
    } else {
      network = nil
      weightBytes = 0
    }
    fingerprint = Digest.fingerprint(
      configuration, tokenizer: tokenizer.fingerprint, archive, settings.policy)
  }

  private static func report(
    _ stage: String, _ fraction: Double, _ progress: ((String, Double) -> Bool)?
  ) throws {
    if let progress, !progress(stage, fraction) {
      throw EngineError(.cancelled, "the load was stopped")
    }
  }

}
