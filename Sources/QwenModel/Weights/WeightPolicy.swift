package import QwenTensor

/// What a matrix is for; each part may have a storage format of its own.
package enum WeightPart: String, Sendable, CaseIterable {
  /// Token embeddings: a row is read for each token.
  case embedding = "embeddings"
  /// Projections of attention and feed-forward parts, experts included.
  case layers
  /// Routers of experts and the gate of a shared one: small, and their choices are discrete.
  case router
  /// The output head.
  case head
}

/// In which formats matrices are held; nil for those of the file, whose pages are shared and come when touched.
///
/// Norms and biases are always floats, routers always as stored.
package struct WeightPolicy: Sendable {
  package var layers: StorageFormat?
  package var head: StorageFormat?
  package var embedding: StorageFormat?
  /// Parts that stay as they are where they are stored in fewer bits than their format here.
  package var keepsNarrow: Set<WeightPart> = []
  /// How much encoders try.
  package var effort = Matrix.Effort.plain
  /// Whether what stays as stored is copied out of its file.
  package var copiesStored = false
  /// Whether matrices that another program quantised are made when they are asked for (`ForeignMatrix.deferred`): for
  /// conversions, which keep everything as stored while they read.
  package var defersForeign = false
  /// Which matrices are interleaved once they are read; nil for none.
  package var packing: PackingRule?

  package init() {}

  /// Everything as stored.
  package static let stored = WeightPolicy()

  /// Whether anything is converted or copied.
  package var isActive: Bool {
    layers != nil || head != nil || embedding != nil || copiesStored
  }

  /// The format that matrices of `part` are held in, nil for as stored.
  package func format(_ part: WeightPart) -> StorageFormat? {
    switch part {
    case .layers: layers
    case .head: head
    case .embedding: embedding
    case .router: nil
    }
  }

  /// The format for rows of `columns` elements of `part` that are stored as `stored`.
  ///
  /// Where rows are no whole number of blocks it is the next wider format that fits, or `stored` if that
  /// is no wider.
  package func format(
    _ part: WeightPart, stored: StorageFormat, columns: Int,
    where isFit: (StorageFormat) -> Bool = { _ in true }
  ) -> StorageFormat {
    guard let wanted = format(part) else { return stored }
    if keepsNarrow.contains(part), isFit(stored), stored.bitsPerWeight <= wanted.bitsPerWeight {
      return stored
    }
    guard let found = wanted.fitting(columns: columns, where: isFit) else { return stored }
    let isFallback = found.name != wanted.name
    return isFallback && isFit(stored) && stored.bitsPerWeight <= found.bitsPerWeight
      ? stored : found
  }
}

extension WeightPolicy {
  /// Whether a head that is tied to the embedding is held in the same format, so that one matrix serves both.
  func sharesTiedHead(of columns: Int, stored: StorageFormat) -> Bool {
    format(.head, stored: stored, columns: columns).name
      == format(.embedding, stored: stored, columns: columns).name
  }
}

/// How much of a part lies in which format, for reports.
package struct WeightShare: Sendable {
  package let part: WeightPart
  package let format: StorageFormat
  package var matrices = 0
  /// Bytes in memory.
  package var byteCount = 0
  /// Bytes of them that are pages of a file, which come when touched and which the system may drop.
  package var mappedBytes = 0

  init(part: WeightPart, format: StorageFormat) {
    self.part = part
    self.format = format
  }
}
