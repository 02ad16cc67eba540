/** The client for web pages of the dashboard. */
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { JobClient } from "../core/client.js";
import type { Connection } from "../core/connection.js";
import { fromServer, JobWorkerError } from "../core/errors.js";
import { ClusterService } from "../gen/jobworker/v1/cluster_service_pb.js";
import { JobService } from "../gen/jobworker/v1/job_service_pb.js";
import { createBrowserTransport } from "./transport.js";

const TIMEOUT_MS = 30_000;

/** `reconnecting` after a call that has found no server, until a call gets an answer. */
export type ConnectionState = "connected" | "reconnecting";

/** Options of a `BrowserClient`. */
export interface BrowserOptions {
  /** Called with each change of the state. The first state is `connected`. */
  readonly onState?: (state: ConnectionState) => void;
  /** Replaces the class of the browser. */
  readonly webSocket?: typeof WebSocket;
}

/** Connections to the dashboard. The browser opens one for each stream. */
class DashboardConnection implements Connection {
  readonly stub: Connection["stub"];
  readonly clusterStub: Connection["clusterStub"];
  readonly #onState: (state: ConnectionState) => void;
  #state: ConnectionState = "connected";

  constructor(baseUrl: string, { webSocket = WebSocket, onState = () => undefined }: BrowserOptions) {
    this.#onState = onState;
    const transport = createBrowserTransport(baseUrl, webSocket, (error) => this.#observe(error));
    this.stub = createClient(JobService, transport);
    this.clusterStub = createClient(ClusterService, transport);
  }

  /** Returns true, because each call connects itself. */
  async connect(): Promise<boolean> {
    return true;
  }

  errorOf(error: unknown): JobWorkerError {
    return error instanceof JobWorkerError ? error : fromServer(ConnectError.from(error));
  }

  /** Does nothing, because the client ends its calls. */
  close(): void {}

  /** Updates the state after an answer, or after the error of a call. */
  #observe(error: unknown): void {
    const isLost = error instanceof ConnectError && error.code === Code.Unavailable;
    const state = isLost ? "reconnecting" : "connected";
    if (state !== this.#state) {
      this.#state = state;
      this.#onState(state);
    }
  }
}

/**
 * A client of the server behind a dashboard. It has the methods of the client for Node, and calls with the user's session
 * in the dashboard.
 *
 * Methods fail with a `JobWorkerError`: UNAUTHENTICATED without a session. Calls are retried while the dashboard or the
 * server is unavailable, and streams resume at their offset.
 */
export class BrowserClient extends JobClient {
  /** `baseUrl` is the origin of the dashboard. */
  constructor(baseUrl: string = location.origin, options: BrowserOptions = {}) {
    super(new DashboardConnection(baseUrl, options), TIMEOUT_MS);
  }
}
