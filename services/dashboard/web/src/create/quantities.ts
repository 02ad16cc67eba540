/** Quantities with units, as people type them. */

/** A value, or the reason why the text has none. The value of an empty text is undefined. */
export interface Parsed<T> {
  readonly value: T | undefined;
  /** Empty if the text is valid. */
  readonly error: string;
}

const SIZE_UNITS: ReadonlyMap<string, number> = new Map([
  ["b", 1],
  ["k", 2 ** 10],
  ["m", 2 ** 20],
  ["g", 2 ** 30],
  ["t", 2 ** 40],
]);

const DURATION_UNITS: ReadonlyMap<string, number> = new Map([
  ["ms", 1],
  ["s", 1000],
  ["m", 60_000],
  ["h", 3_600_000],
  ["d", 86_400_000],
]);

/** Reads a size such as `512 MiB`, `1.5G` or `100k` in bytes. A number without a unit has `defaultUnit`, such as `m`. */
export function parseSize(text: string, defaultUnit: string): Parsed<number> {
  const match = /^\s*(\d+(?:\.\d+)?)\s*(?:([kmgt])(?:i?b)?|(b))?\s*$/i.exec(text);
  const unit = SIZE_UNITS.get((match?.[2] ?? match?.[3] ?? defaultUnit).toLowerCase());
  if (match && unit !== undefined) {
    return { value: Math.round(Number(match[1]) * unit), error: "" };
  }
  return invalid(text, "Use a size such as 512 MiB or 1.5 GiB.");
}

/** Reads a duration such as `90s`, `1h 30m` or `250ms` in milliseconds. A number without a unit has seconds. */
export function parseDuration(text: string): Parsed<number> {
  const parts = /^\s*(?:\d+(?:\.\d+)?\s*(?:ms|s|m|h|d)\s*)+$/i.test(text)
    ? [...text.matchAll(/(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)/gi)]
    : [];
  if (parts.length > 0) {
    const value = parts.reduce(
      (sum, [, number, unit = ""]) => sum + Number(number) * (DURATION_UNITS.get(unit.toLowerCase()) ?? 0),
      0,
    );
    return { value: Math.round(value), error: "" };
  }
  if (/^\s*\d+(\.\d+)?\s*$/.test(text)) {
    return { value: Math.round(Number(text) * 1000), error: "" };
  }
  return invalid(text, "Use a duration such as 90s, 15m or 1h 30m.");
}

const CPU_UNITS: ReadonlyMap<string, number> = new Map([
  ["", 1],
  ["%", 1],
  ["c", 100],
  ["m", 0.1],
]);

/**
 * Reads a share of the CPU in percent of one core, as the command `jobworker` does: `150` and `150%` are percent, `1.5c`
 * is a number of cores, and `1500m` is thousandths of a core.
 */
export function parseCpu(text: string): Parsed<number> {
  const match = /^\s*(?:(\d+)|(\d+(?:\.\d+)?)\s*(%|c(?:ores?)?|m))\s*$/i.exec(text);
  const unit = CPU_UNITS.get((match?.[3] ?? "").slice(0, 1).toLowerCase());
  if (match && unit !== undefined) {
    return { value: Math.round(Number(match[1] ?? match[2]) * unit), error: "" };
  }
  return invalid(text, "Use percent of one core such as 150%, or a number of cores such as 1.5c.");
}

/** Reads a whole number. */
export function parseInteger(text: string): Parsed<number> {
  return /^\s*-?\d{1,15}\s*$/.test(text)
    ? { value: Number(text), error: "" }
    : invalid(text, "Use a whole number.");
}

function invalid(text: string, error: string): Parsed<number> {
  return { value: undefined, error: text.trim() ? error : "" };
}
