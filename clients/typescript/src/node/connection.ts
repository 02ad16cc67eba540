/** The HTTP/2 connection of a client. The first call opens it, and the first call after its end reopens it. */
import type { ClientHttp2Session, ClientHttp2Stream, Http2Session } from "node:http2";
import { Code, ConnectError, createClient, type Client as Stub } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import type { Connection } from "../core/connection.js";
import type { JobWorkerError } from "../core/errors.js";
import { ClusterService } from "../gen/jobworker/v1/cluster_service_pb.js";
import { JobService } from "../gen/jobworker/v1/job_service_pb.js";
import type { ResolvedConfig } from "./config.js";
import { fromCall } from "./errors.js";

// Pings detect a dead server after 40 s. They are sent only while a call is open because servers close idle
// connections that send pings (GOAWAY too_many_pings).
const KEEPALIVE = { pingIntervalMs: 30_000, pingTimeoutMs: 10_000 };

// Node does not notice a connection that is reset while it writes. A write without progress for the interval is followed
// by a ping, and a connection that does not answer it in time is closed.
const WRITE_CHECK = { intervalMs: 1_000, pingTimeoutMs: 3_000 };

// The flow-control windows of one stream and of the connection. HTTP/2's default of 65,535 bytes (RFC 9113, section
// 6.9.2) is less than one message and limits the throughput to that per round trip.
const STREAM_WINDOW = 1024 * 1024;
const CONNECTION_WINDOW = 4 * STREAM_WINDOW;

// Room for a page of 1,000 jobs with long commands.
const MAX_MESSAGE_BYTES = 8 * 1024 * 1024;

/**
 * Enlarges the window of the connection, which HTTP/2 settings do not cover, and catches late errors.
 *
 * The base class destroys a connection with an error when the server goes away, which can happen after it has removed
 * its listener. Node ends the process for an error without a listener.
 */
class SessionManager extends Http2SessionManager {
  readonly #seen = new WeakSet<Http2Session>();

  override async request(...call: Parameters<Http2SessionManager["request"]>): Promise<ClientHttp2Stream> {
    const stream = await super.request(...call);
    const { session } = stream;
    if (session && !this.#seen.has(session)) {
      this.#seen.add(session);
      session.on("error", () => undefined);
    }
    if ((session?.state.effectiveLocalWindowSize ?? CONNECTION_WINDOW) < CONNECTION_WINDOW) {
      session?.setLocalWindowSize(CONNECTION_WINDOW);
    }
    checkWrites(stream);
    return stream;
  }
}

/** Closes the connection of a stream if it breaks while the stream writes. */
function checkWrites(stream: ClientHttp2Stream): void {
  let written = -1;
  let isPinging = false;
  const timer = setInterval(() => {
    const session = stream.session as ClientHttp2Session | undefined;
    if (!session || session.destroyed || isPinging || stream.writableLength === 0) {
      written = -1;
      return;
    }
    const { bytesWritten } = session.socket;
    if (bytesWritten === written) {
      isPinging = true;
      pingOrDestroy(session, () => {
        isPinging = false;
      });
    }
    written = bytesWritten;
  }, WRITE_CHECK.intervalMs);
  timer.unref();
  stream.once("close", () => clearInterval(timer));
}

/** Pings the server. Destroys the session if the answer does not arrive in time. */
function pingOrDestroy(session: ClientHttp2Session, onAnswer: () => void): void {
  const timer = setTimeout(() => {
    session.destroy(new ConnectError("the connection broke during a write", Code.Unavailable));
  }, WRITE_CHECK.pingTimeoutMs);
  session.ping(() => {
    clearTimeout(timer);
    onAnswer();
  });
}

/** A connection that uses mutual TLS 1.3. */
export class TlsConnection implements Connection {
  readonly stub: Stub<typeof JobService>;
  readonly clusterStub: Stub<typeof ClusterService>;
  readonly #server: string;
  readonly #sessions: SessionManager;

  constructor(config: ResolvedConfig) {
    const baseUrl = `https://${config.server}`;
    this.#server = config.server;
    this.#sessions = new SessionManager(baseUrl, KEEPALIVE, {
      secureContext: config.secureContext,
      minVersion: "TLSv1.3",
      settings: { initialWindowSize: STREAM_WINDOW, enablePush: false },
      ...(config.serverName ? { servername: config.serverName } : {}),
    });
    const transport = createGrpcTransport({
      baseUrl,
      sessionManager: this.#sessions,
      acceptCompression: [],
      readMaxBytes: MAX_MESSAGE_BYTES,
    });
    this.stub = createClient(JobService, transport);
    this.clusterStub = createClient(ClusterService, transport);
  }

  async connect(): Promise<boolean> {
    return (await this.#sessions.connect()) !== "error";
  }

  errorOf(error: unknown): JobWorkerError {
    return fromCall(error, this.#server);
  }

  close(): void {
    this.#sessions.abort();
  }
}
