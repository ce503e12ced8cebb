// Numbers from files are added and multiplied here only: the result is nil where it does not fit.

/// The sum, or nil if it does not fit.
package func checkedSum<T: FixedWidthInteger>(_ left: T, _ right: T) -> T? {
  let (value, overflow) = left.addingReportingOverflow(right)
  return overflow ? nil : value
}

/// The product, or nil if it does not fit.
package func checkedProduct<T: FixedWidthInteger>(_ left: T, _ right: T) -> T? {
  let (value, overflow) = left.multipliedReportingOverflow(by: right)
  return overflow ? nil : value
}

/// The product of all, 1 for none; nil if it does not fit or a factor is negative.
package func checkedProduct(_ factors: [Int]) -> Int? {
  var product = 1
  for factor in factors {
    guard factor >= 0, let next = checkedProduct(product, factor) else { return nil }
    product = next
  }
  return product
}

/// `value` rounded up to a multiple of `alignment`, a power of two; nil if it does not fit.
package func checkedRoundUp(_ value: Int, to alignment: Int) -> Int? {
  guard alignment > 0, value >= 0, let sum = checkedSum(value, alignment - 1) else { return nil }
  return sum & ~(alignment - 1)
}
