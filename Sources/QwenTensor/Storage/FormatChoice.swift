extension StorageFormat {
  /// The name as options spell it: "q4_0", "nf4-double".
  package var word: String { name.lowercased() }

  /// The formats that can be written.
  package static var encodable: [StorageFormat] {
    all.filter(\.isWritable)
  }

  /// The format that options call `word`; nil if there is none, or if it can't be written.
  package static func encodable(_ word: String) -> StorageFormat? {
    encodable.first { $0.word == word }
  }

  /// This format, or where rows of `columns` elements are no whole number of its blocks the next wider
  /// one that can be written and fits: fewest bits first, then the order of the table.
  ///
  /// `isFit` narrows the choice, to what a kind of file can hold for instance. Nil if nothing fits.
  package func fitting(
    columns: Int, where isFit: (StorageFormat) -> Bool = { _ in true }
  ) -> StorageFormat? {
    if isFit(self), rowBytes(columns: columns) != nil { return self }
    let wider = StorageFormat.encodable.filter {
      $0.bitsPerWeight > bitsPerWeight && $0.rowBytes(columns: columns) != nil && isFit($0)
    }
    return wider.min { $0.bitsPerWeight < $1.bitsPerWeight }
  }
}
