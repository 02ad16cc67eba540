/** The time, for texts that change by themselves. */
import { type ReadonlySignal, signal } from "@preact/signals";

const clock = signal(Date.now());
setInterval(() => {
  clock.value = Date.now();
}, 1000);

/** The time in milliseconds, renewed each second. A text that reads it changes without its component rendering again. */
export const now: ReadonlySignal<number> = clock;
