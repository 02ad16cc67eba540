/** The state of the connection to the server. */
import { signal } from "@preact/signals";

/** `reconnecting` from the first call that failed because of the connection until the next response. */
export const connection = signal<"connected" | "reconnecting">("connected");
