/** The usage of a running job over the time that the page is open. */
import type { Job, Usage } from "@jobworker/client/browser";

/** A value, or `null` if it was not measured. */
export type Value = number | null;

/** Values at the same times. Each list has one entry for each time. */
export interface Series {
  /** Seconds since 1970, by the clock of the browser. */
  readonly times: number[];
  /** Percent of one core. */
  readonly cpu: Value[];
  /** Bytes. */
  readonly memory: Value[];
  /** Bytes per second. */
  readonly read: Value[];
  readonly written: Value[];
  /** Percent of the time in which some processes waited. */
  readonly cpuPressure: Value[];
  readonly memoryPressure: Value[];
  readonly ioPressure: Value[];
}

type Measure = Exclude<keyof Series, "times">;
/** The name of a measured value that is an integer. */
export type Counter = {
  [Name in keyof Usage]-?: NonNullable<Usage[Name]> extends bigint ? Name : never;
}[keyof Usage];

// One hour with a measurement each second.
const MAX_SAMPLES = 3600;

// A longer pause is shown as a gap: the page was hidden, or the connection was broken.
const MAX_GAP_S = 5;

// The counters that add up to each rate, and the factor from units per microsecond.
const RATES: Readonly<Record<Exclude<Measure, "memory">, readonly [readonly Counter[], number]>> = {
  cpu: [["cpuUserUsec", "cpuSystemUsec"], 100],
  read: [["ioReadBytes"], 1_000_000],
  written: [["ioWriteBytes"], 1_000_000],
  cpuPressure: [["cpuPressureSomeUsec"], 100],
  memoryPressure: [["memoryPressureSomeUsec"], 100],
  ioPressure: [["ioPressureSomeUsec"], 100],
};

/** The measurements of one job. A rate needs two of them. */
export class UsageHistory {
  readonly series: Series = {
    times: [],
    cpu: [],
    memory: [],
    read: [],
    written: [],
    cpuPressure: [],
    memoryPressure: [],
    ioPressure: [],
  };
  #previous: Usage | undefined;

  /** Adds a measurement at a time in seconds since 1970. Ignores one that is not newer than the last. */
  add(usage: Usage, time: number): void {
    const previous = this.#previous;
    const elapsed = Number((usage.wallUsec ?? 0n) - (previous?.wallUsec ?? 0n));
    if (previous && elapsed <= 0) {
      return;
    }
    const gap = time - (this.series.times.at(-1) ?? time);
    if (gap > MAX_GAP_S) {
      this.#push(time - gap / 2, () => null);
    }
    this.#push(time, (name) =>
      name === "memory" ? memoryOf(usage) : rateOf(name, previous, usage, elapsed),
    );
    this.#previous = usage;
  }

  #push(time: number, measure: (name: Measure) => Value): void {
    const { times, ...measures } = this.series;
    times.push(time);
    for (const [name, values] of Object.entries(measures)) {
      values.push(measure(name as Measure));
    }
    if (times.length > MAX_SAMPLES) {
      for (const values of [times, ...Object.values(measures)]) {
        values.shift();
      }
    }
  }
}

/** Returns the average CPU use since the start of a job in percent of one core. */
export function averageCpu({ usage }: Job): Value {
  return usage?.wallUsec ? rateOf("cpu", undefined, usage, Number(usage.wallUsec), true) : null;
}

function memoryOf({ memoryCurrentBytes }: Usage): Value {
  return memoryCurrentBytes === undefined ? null : Number(memoryCurrentBytes);
}

/** Returns a rate between two measurements, or since the start of the job. */
function rateOf(
  name: keyof typeof RATES,
  previous: Usage | undefined,
  current: Usage,
  elapsedUsec: number,
  sinceStart = false,
): Value {
  const [counters, factor] = RATES[name];
  let total = 0n;
  for (const counter of counters) {
    const before = sinceStart ? 0n : previous?.[counter];
    const now = current[counter];
    if (before === undefined || now === undefined) {
      return null;
    }
    total += now - before;
  }
  return (Number(total) / elapsedUsec) * factor;
}
