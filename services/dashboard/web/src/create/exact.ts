/** Quantities as texts that the form reads back without a loss. */

const SIZE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

const DURATION_UNITS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1000],
  ["ms", 1],
] as const;

/** Returns a size in the largest unit that divides it, such as `10 MiB` or `1000 B`. */
export function formatExactSize(bytes: bigint): string {
  let value = bytes;
  let unit = 0;
  while (value % 1024n === 0n && value > 0n && unit < SIZE_UNITS.length - 1) {
    value /= 1024n;
    unit += 1;
  }
  return `${value} ${SIZE_UNITS[unit]}`;
}

/** Returns a duration with all its units, such as `1h 30m`. */
export function formatExactDuration(ms: number): string {
  const parts: string[] = [];
  let rest = Math.round(ms);
  for (const [unit, length] of DURATION_UNITS) {
    if (rest >= length) {
      parts.push(`${Math.floor(rest / length)}${unit}`);
      rest %= length;
    }
  }
  return parts.join(" ") || "0s";
}
