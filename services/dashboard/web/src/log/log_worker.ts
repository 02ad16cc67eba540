/** The worker of a log view. It reads the stream and keeps the bytes, so that the page never waits for them. */
import { trustedScriptUrl } from "../ui/trusted.js";
import { LogSession } from "./log_session.js";
import type { CallMessage, WorkerMessage } from "./messages.js";
import searchWorkerUrl from "./search_worker.ts?worker&url";

const post = (message: WorkerMessage): void => postMessage(message);
const session = new LogSession(post, () => new Worker(trustedScriptUrl(searchWorkerUrl), { type: "module" }));

addEventListener("message", async ({ data: { id, method, parameters } }: MessageEvent<CallMessage>) => {
  try {
    const call = session[method] as (...parameters: unknown[]) => unknown;
    post({ kind: "result", id, value: await call.apply(session, [...parameters]) });
  } catch (error) {
    post({ kind: "error", id, message: (error as Error).message });
  }
});
