package import QwenFormats
internal import QwenTensor

extension WeightPlan {
  /// The matrices that every token reads from the pages of their file, in the order of the files; none of a mixture of
  /// experts, where each token reads others.
  package static func streamed(
    _ configuration: ModelConfiguration, _ archive: TensorArchive, policy: WeightPolicy
  ) -> [ByteRegion] {
    guard configuration.experts == nil, configuration.quantization == nil, !policy.isActive,
      !policy.defersForeign
    else { return [] }
    let names = TensorNames.find(configuration.family, in: archive)
    let hasHead = !configuration.isTied && archive[names.head + ".weight"] != nil
    return archive.entries.filter { entry in
      guard let part = part(entry.name, names), let format = try? StorageFormat.of(entry),
        policy.packing != .all || !PackingRule.all.wants(format)
      else { return false }
      return part == .embedding ? !hasHead : part == .layers || part == .head && hasHead
    }.map(\.region)
  }
}
