/** Texts for points in time and durations. */
import { useComputed } from "@preact/signals";
import { now } from "./clock.js";
import { formatDuration, formatExactTime, formatTime } from "./format.js";

/** A point in time. The tooltip has the date, the milliseconds and the zone. */
export function Time({ date }: { date: Date }) {
  return (
    <time class="numeric" dateTime={date.toISOString()} title={formatExactTime(date)}>
      {formatTime(date, new Date(now.peek()))}
    </time>
  );
}

/** The duration from `start` to `end`, or until now if there is no end. Only its text node changes each second. */
export function Duration({ start, end }: { start: Date; end: Date | undefined }) {
  return (
    <span class="numeric">{end ? formatDuration(Number(end) - Number(start)) : <Since start={start} />}</span>
  );
}

function Since({ start }: { start: Date }) {
  const text = useComputed(() => formatDuration(now.value - Number(start)));
  return <>{text}</>;
}
