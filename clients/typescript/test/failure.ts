/** Assertions about errors of the client. */
import assert from "node:assert/strict";
import { JobWorkerError } from "@jobworker/client";

/** Returns a check for assert.rejects: the error has these properties. */
export function failsWith(expected: Partial<JobWorkerError>): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof JobWorkerError, String(error));
    const actual = Object.fromEntries(
      Object.keys(expected).map((key) => [key, error[key as keyof JobWorkerError]]),
    );
    assert.deepEqual(actual, expected);
    return true;
  };
}
