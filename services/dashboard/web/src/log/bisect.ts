/** Returns the first index in 0..count for which `after` is true, or `count`. `after` is false, then true. */
export function bisect(count: number, after: (index: number) => boolean): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (after(middle)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}
