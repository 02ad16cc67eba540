/** The client that all views share. */
import { BrowserClient, JobWorkerError } from "@jobworker/client/browser";
import { errorText } from "../ui/error_text.js";
import { connection } from "./connection.js";
import { notify } from "./notices.js";
import { requireLogin } from "./session.js";

/** The client of the server behind this dashboard. */
export const client = new BrowserClient(location.origin, {
  onState: (state) => {
    connection.value = state;
  },
});

/** Shows the login view if an error says that the session has ended. Returns false for other errors. */
export function endsSession(error: unknown): boolean {
  const ends = error instanceof JobWorkerError && error.code === "UNAUTHENTICATED";
  if (ends) {
    requireLogin(error.message);
  }
  return ends;
}

/** Shows the message of a failed call. Calls that the page has aborted itself are not shown. */
export function reportError(error: unknown): void {
  const text = errorText(error);
  if (text && !endsSession(error)) {
    notify(text, "bad");
  }
}
