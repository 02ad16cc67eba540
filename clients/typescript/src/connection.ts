/** The one HTTP/2 connection of a client: made by the first call, and anew by the first call after its end. */
import type { ClientHttp2Stream } from "node:http2";
import { createClient, type Client as Stub } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { JobService } from "./gen/jobworker/v1/job_service_pb.js";
import type { Settings } from "./settings.js";

// A server that is gone without a word is noticed after 40 s. Pings are sent only while a call is open:
// servers end connections that are pinged for nothing (GOAWAY too_many_pings).
const KEEPALIVE = { pingIntervalMs: 30_000, pingTimeoutMs: 10_000 };

// How many bytes the server may send ahead of one reader, and of all together: HTTP/2's own 65,535 (RFC 9113,
// 6.9.2) are less than one message, and no more than that would be under way in a round trip.
const STREAM_WINDOW = 1024 * 1024;
const CONNECTION_WINDOW = 4 * STREAM_WINDOW;

// 8 MiB is room for a page of 1,000 jobs with long commands.
const LONGEST_MESSAGE = 8 * 1024 * 1024;

/** Connect's connections, with a window of their own size: that of a connection is no setting of HTTP/2. */
class Sessions extends Http2SessionManager {
  override async request(...call: Parameters<Http2SessionManager["request"]>): Promise<ClientHttp2Stream> {
    const stream = await super.request(...call);
    const { session } = stream;
    if ((session?.state.effectiveLocalWindowSize ?? CONNECTION_WINDOW) < CONNECTION_WINDOW) {
      session?.setLocalWindowSize(CONNECTION_WINDOW);
    }
    return stream;
  }
}

/** A connection over mutual TLS 1.3. */
export class Connection {
  /** `HOST:PORT`. */
  readonly server: string;
  readonly stub: Stub<typeof JobService>;
  readonly #sessions: Sessions;

  constructor(settings: Settings) {
    const baseUrl = `https://${settings.server}`;
    this.server = settings.server;
    this.#sessions = new Sessions(baseUrl, KEEPALIVE, {
      secureContext: settings.secureContext,
      minVersion: "TLSv1.3",
      settings: { initialWindowSize: STREAM_WINDOW, enablePush: false },
      ...(settings.serverName ? { servername: settings.serverName } : {}),
    });
    const transport = createGrpcTransport({
      baseUrl,
      sessionManager: this.#sessions,
      acceptCompression: [],
      readMaxBytes: LONGEST_MESSAGE,
    });
    this.stub = createClient(JobService, transport);
  }

  /** Connects unless there is a connection, and tells whether there is one. */
  async isOpen(): Promise<boolean> {
    return (await this.#sessions.connect()) !== "error";
  }

  /** Ends the connection, and the calls that are open on it. */
  close(): void {
    this.#sessions.abort();
  }
}
