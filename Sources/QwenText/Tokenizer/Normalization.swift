/// Normalisation form C (Unicode standard annex 15), linear in the length of any text.
struct Normalization: Sendable {
  /// Built on first use, in under a millisecond.
  static let shared = Normalization()

  private let steps: [UInt32: (first: UInt32, second: UInt32)]
  private let compositions: [UInt64: UInt32]
  private let combining: [UInt32: UInt8]

  /// A code point with its canonical combining class.
  private struct Mark {
    var point: UInt32
    var order: UInt8
  }

  private init() {
    let excludedRanges = UnicodeTables.excluded
    var excluded: Set<UInt32> = []
    for index in stride(from: 0, to: excludedRanges.count, by: 2) {
      excluded.formUnion(excludedRanges[index]..<excludedRanges[index] + excludedRanges[index + 1])
    }
    var steps: [UInt32: (first: UInt32, second: UInt32)] = [:]
    var compositions: [UInt64: UInt32] = [:]
    let table = UnicodeTables.decompositions
    var point: UInt32 = 0
    for index in stride(from: 0, to: table.count, by: 3) {
      point += table[index]
      steps[point] = (table[index + 1], table[index + 2])
      if table[index + 2] != 0, !excluded.contains(point) {
        compositions[UInt64(table[index + 1]) << 32 | UInt64(table[index + 2])] = point
      }
    }
    var combining: [UInt32: UInt8] = [:]
    let classes = UnicodeTables.combiningClasses
    for index in stride(from: 0, to: classes.count, by: 3) {
      for point in classes[index]..<classes[index] + classes[index + 1] {
        combining[point] = UInt8(classes[index + 2])
      }
    }
    self.steps = steps
    self.compositions = compositions
    self.combining = combining
  }

  /// `text[start ..< end]` in NFC; well-formed UTF-8.
  ///
  /// Between two stable characters nothing can move, so only the stretches around unstable ones are
  /// worked on and the rest is copied.
  func composed(
    _ text: Span<UInt8>, _ start: Int, _ end: Int, _ classes: UnicodeClasses
  ) -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(end - start)
    var segment: [Mark] = []
    var index = start
    // The character before `index` if it is stable and not copied yet.
    var held = start
    while index < end {
      let (point, width) = UTF8Text.scalar(text, index)
      if !classes[point].contains(.unstable) {
        while held < index {
          out.append(text[held])
          held += 1
        }
        index += width
        continue
      }
      segment.removeAll(keepingCapacity: true)
      if held < index { decompose(UTF8Text.scalar(text, held).point, into: &segment) }
      while index < end {
        let (point, width) = UTF8Text.scalar(text, index)
        if !classes[point].contains(.unstable) { break }
        decompose(point, into: &segment)
        index += width
      }
      reorder(&segment)
      compose(&segment)
      for mark in segment { UTF8Text.append(mark.point, to: &out) }
      held = index
    }
    while held < end {
      out.append(text[held])
      held += 1
    }
    return out
  }

  private func decompose(_ point: UInt32, into segment: inout [Mark]) {
    let syllable = point &- 0xAC00
    if syllable < 11172 {
      segment.append(Mark(point: 0x1100 + syllable / 588, order: 0))
      segment.append(Mark(point: 0x1161 + syllable % 588 / 28, order: 0))
      if syllable % 28 != 0 { segment.append(Mark(point: 0x11A7 + syllable % 28, order: 0)) }
    } else if let step = steps[point] {
      // At most four levels deep in the tables, and seconds never decompose further than that.
      decompose(step.first, into: &segment)
      if step.second != 0 { decompose(step.second, into: &segment) }
    } else {
      segment.append(Mark(point: point, order: combining[point] ?? 0))
    }
  }

  /// Sorts every run of marks by combining class, keeping equal ones in order.
  private func reorder(_ segment: inout [Mark]) {
    var index = 0
    while index < segment.count {
      if segment[index].order == 0 {
        index += 1
        continue
      }
      let start = index
      var isSorted = true
      while index < segment.count, segment[index].order != 0 {
        if index > start, segment[index - 1].order > segment[index].order { isSorted = false }
        index += 1
      }
      if !isSorted { countingSort(&segment, start, index) }
    }
  }

  /// A hostile run may be a whole text long, so no sort that compares pairs.
  private func countingSort(_ segment: inout [Mark], _ start: Int, _ end: Int) {
    if end - start <= 12 {
      for index in start + 1..<end {
        var place = index
        while place > start, segment[place - 1].order > segment[place].order {
          segment.swapAt(place - 1, place)
          place -= 1
        }
      }
      return
    }
    var places = [Int](repeating: 0, count: 257)
    for mark in segment[start..<end] { places[Int(mark.order) + 1] += 1 }
    for order in 1...256 { places[order] += places[order - 1] }
    let marks = Array(segment[start..<end])
    for mark in marks {
      segment[start + places[Int(mark.order)]] = mark
      places[Int(mark.order)] += 1
    }
  }

  /// Joins each character with the last starter unless something of its class or higher is between.
  private func compose(_ segment: inout [Mark]) {
    var starter: Int? = nil
    var count = 0
    for index in segment.indices {
      let mark = segment[index]
      if let starter {
        let isAdjacent = count == starter + 1
        if isAdjacent || segment[count - 1].order < mark.order,
          let joined = composition(segment[starter].point, mark.point)
        {
          segment[starter].point = joined
          continue
        }
      }
      segment[count] = mark
      if mark.order == 0 { starter = count }
      count += 1
    }
    segment.removeLast(segment.count - count)
  }

  private func composition(_ first: UInt32, _ second: UInt32) -> UInt32? {
    let lead = first &- 0x1100
    let vowel = second &- 0x1161
    if lead < 19, vowel < 21 { return 0xAC00 + (lead * 21 + vowel) * 28 }
    let syllable = first &- 0xAC00
    let tail = second &- 0x11A7
    if syllable < 11172, syllable % 28 == 0, tail > 0, tail < 28 { return first + tail }
    return compositions[UInt64(first) << 32 | UInt64(second)]
  }
}
