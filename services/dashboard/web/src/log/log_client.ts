/** The page's side of a log view's worker. */
import { trustedScriptUrl } from "../ui/trusted.js";
import logWorkerUrl from "./log_worker.ts?worker&url";
import type { LogMethods, LogState, MethodName, SearchState, WorkerMessage } from "./messages.js";

/** Receives what the worker reports by itself. */
export interface LogEvents {
  readonly onState: (state: LogState) => void;
  readonly onSearch: (state: SearchState | undefined) => void;
  /** The worker cannot run, for example because the server has a newer version of the page. */
  readonly onFailure: () => void;
  /** Bytes of the present download so far. */
  readonly onDownload: (bytes: number) => void;
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** Reads the log of one job until it is closed. */
export class LogClient {
  readonly #worker = new Worker(trustedScriptUrl(logWorkerUrl), { type: "module" });
  readonly #waiting = new Map<number, Waiting>();
  readonly #events: LogEvents;
  #lastId = 0;

  constructor(jobId: string, baseUrl: string, events: LogEvents) {
    this.#events = events;
    this.#worker.onmessage = ({ data }: MessageEvent<WorkerMessage>) => this.#receive(data);
    this.#worker.onerror = () => events.onFailure();
    void this.call("open", jobId, baseUrl);
  }

  call<Name extends MethodName>(
    method: Name,
    ...parameters: Parameters<LogMethods[Name]>
  ): Promise<ReturnType<LogMethods[Name]>> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as Waiting["resolve"], reject });
      this.#worker.postMessage({ id, method, parameters });
    });
  }

  /** Ends the worker. Calls that wait never return. */
  close(): void {
    this.#worker.terminate();
    this.#waiting.clear();
  }

  #receive(message: WorkerMessage): void {
    switch (message.kind) {
      case "state":
        this.#events.onState(message.state);
        break;
      case "search":
        this.#events.onSearch(message.state);
        break;
      case "downloaded":
        this.#events.onDownload(message.bytes);
        break;
      default: {
        const waiting = this.#waiting.get(message.id);
        this.#waiting.delete(message.id);
        if (message.kind === "result") {
          waiting?.resolve(message.value);
        } else {
          waiting?.reject(new Error(message.message));
        }
      }
    }
  }
}
