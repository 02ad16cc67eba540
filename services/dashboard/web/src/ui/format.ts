/** Sizes, durations and times in the form that people read. */

const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] as const;
const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** Returns a size in the largest binary unit that keeps it at 1 or more, such as `1.5 MiB`. */
export function formatBytes(bytes: number | bigint): string {
  let value = Number(bytes);
  let unit = 0;
  while (value >= 1024 && unit < BYTE_UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${BYTE_UNITS[unit]}`;
}

/** Returns a duration with at most two units, such as `2h 05m`, `12s` or `340ms`. */
export function formatDuration(ms: number): string {
  if (ms < SECOND_MS) {
    return `${Math.max(0, Math.round(ms))}ms`;
  }
  if (ms < 10 * SECOND_MS) {
    return `${(Math.floor(ms / 100) / 10).toFixed(1)}s`;
  }
  if (ms < MINUTE_MS) {
    return `${Math.floor(ms / SECOND_MS)}s`;
  }
  if (ms < HOUR_MS) {
    return `${Math.floor(ms / MINUTE_MS)}m ${twoDigits((ms % MINUTE_MS) / SECOND_MS)}s`;
  }
  if (ms < DAY_MS) {
    return `${Math.floor(ms / HOUR_MS)}h ${twoDigits((ms % HOUR_MS) / MINUTE_MS)}m`;
  }
  return `${Math.floor(ms / DAY_MS)}d ${twoDigits((ms % DAY_MS) / HOUR_MS)}h`;
}

/** Returns the time of day if `date` is on the same day as `now`, or else the date and the time. In the local zone. */
export function formatTime(date: Date, now: Date): string {
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(twoDigits).join(":");
  return date.toDateString() === now.toDateString() ? time : `${formatDate(date)} ${time}`;
}

/** Returns a time with its date and zone, such as `2026-11-26 18:11:03.250 +01:00`. */
export function formatExactTime(date: Date): string {
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(twoDigits).join(":");
  const ms = String(date.getMilliseconds()).padStart(3, "0");
  const zone = -date.getTimezoneOffset();
  const sign = zone < 0 ? "-" : "+";
  const offset = `${sign}${twoDigits(Math.abs(zone) / 60)}:${twoDigits(Math.abs(zone) % 60)}`;
  return `${formatDate(date)} ${time}.${ms} ${offset}`;
}

function formatDate(date: Date): string {
  return `${date.getFullYear()}-${twoDigits(date.getMonth() + 1)}-${twoDigits(date.getDate())}`;
}

function twoDigits(value: number): string {
  return String(Math.floor(value)).padStart(2, "0");
}
