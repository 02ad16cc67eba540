/** The limits and the parts of the isolation that a job does not have. */
import { IsolationPart, type Job, Limit } from "@jobworker/client/browser";

/** A limit or a part of the isolation that is not in force. */
export interface Unenforced {
  /** Its name in words, such as `max memory`. */
  readonly name: string;
  /** The server's sentence: the reason and the remedy. */
  readonly reason: string;
}

/** Returns the limits and the parts of the isolation that are not in force. */
export function unenforced({ appliedLimits, appliedIsolation }: Job): readonly Unenforced[] {
  return [
    ...appliedLimits.map(({ limit, inForce, reason }) => ({ name: inWords(Limit[limit]), inForce, reason })),
    ...appliedIsolation.map(({ part, inForce, reason }) => ({
      name: inWords(IsolationPart[part]),
      inForce,
      reason,
    })),
  ].filter(({ inForce }) => !inForce);
}

// A newer server can send values without a name.
function inWords(name: string | undefined): string {
  return (name ?? "unknown").toLowerCase().replaceAll("_", " ");
}
