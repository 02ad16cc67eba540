/** The messages of errors. */

/** Returns the message of an error, or "" if the page aborted the call on purpose. */
export function errorText(error: unknown): string {
  if (error instanceof DOMException && error.name === "AbortError") {
    return "";
  }
  return error instanceof Error ? error.message : String(error);
}
