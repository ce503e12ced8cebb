internal import QwenFormats

extension Tokenizer {
  /// Digest of what every id stands for: equal for vocabularies that are the same, whatever file they came from.
  /// Ids without text at the end do not count. Reads the whole vocabulary: about a millisecond.
  package var fingerprint: String {
    var digest = Digest()
    unsafe tokens.blob.withUnsafeBytes { blob in
      for id in 0..<usableCount {
        let (start, end) = tokens.bounds(Int32(id))
        unsafe digest.add(UnsafeRawBufferPointer(rebasing: blob[start..<end]))
      }
    }
    return digest.text
  }
}
