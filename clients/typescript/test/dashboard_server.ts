/** A dashboard without a server behind it: it serves the given methods to `BrowserClient`. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { create, type DescMethodStreaming, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createRouterTransport, type Transport } from "@connectrpc/connect";
import { errorToJson } from "@connectrpc/connect/protocol-connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { BrowserClient, type BrowserOptions } from "@jobworker/client/browser";
import { WebSocket as NodeWebSocket, type RawData, type WebSocket as Socket, WebSocketServer } from "ws";
import { JobService } from "../src/gen/jobworker/v1/job_service_pb.js";
import { type ClusterMethods, type Methods, routes } from "./server.js";

// How many bytes are sent that the page has not consumed.
const WINDOW_BYTES = 4 * 1024 * 1024;

/** A running dashboard. */
export class DashboardServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets: WebSocketServer;
  readonly #transport: Transport;
  /** The text messages of the clients. */
  readonly texts: string[] = [];

  private constructor(server: Server, methods: Methods) {
    this.#server = server;
    this.#transport = createRouterTransport((router) => router.service(JobService, methods));
    this.#sockets = new WebSocketServer({ server, handleProtocols: () => "jobworker.v1" });
    this.#sockets.on("connection", (socket, { url }) => void this.#serve(socket, url ?? ""));
  }

  static async start(methods: Methods, cluster?: ClusterMethods): Promise<DashboardServer> {
    const server = createServer(connectNodeAdapter({ routes: routes(methods, cluster) }));
    const running = new DashboardServer(server, methods);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return running;
  }

  client(options: BrowserOptions = {}): BrowserClient {
    const { port } = this.#server.address() as AddressInfo;
    const webSocket = NodeWebSocket as unknown as typeof WebSocket;
    return new BrowserClient(`http://127.0.0.1:${port}`, { webSocket, ...options });
  }

  /** Breaks every connection, as the death of the dashboard does. */
  disconnect(): void {
    this.#server.closeAllConnections();
    for (const socket of this.#sockets.clients) {
      socket.terminate();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#sockets.close();
    this.disconnect();
    await closed;
  }

  /** Makes the call of a WebSocket, and sends its messages and its status. */
  async #serve(socket: Socket, url: string): Promise<void> {
    const name = url.split("/").at(-1);
    const method = JobService.methods.find((each) => each.name === name) as DescMethodStreaming;
    const call = new SocketCall(socket, this.texts);
    const signal = call.gone.signal;
    const input = call.input(method);
    try {
      const response = await this.#transport.stream(method, signal, undefined, undefined, input);
      for await (const message of response.message) {
        await call.send(toBinary(method.output, message));
      }
      socket.send("{}");
    } catch (error) {
      socket.send(JSON.stringify({ error: errorToJson(ConnectError.from(error, Code.Unknown), undefined) }));
    }
    socket.close();
  }
}

/** The messages of one WebSocket. */
class SocketCall {
  /** Aborts when the page has closed the WebSocket. */
  readonly gone = new AbortController();
  readonly #socket: Socket;
  readonly #received: (Buffer | "end")[] = [];
  #sent = 0;
  #consumed = 0;
  #changed = (): void => undefined;

  constructor(socket: Socket, texts: string[]) {
    this.#socket = socket;
    socket.on("close", () => {
      this.gone.abort();
      this.#changed();
    });
    socket.on("message", (data: RawData, isBinary) => {
      const text = isBinary ? "" : data.toString();
      if (text) {
        texts.push(text);
      }
      if (isBinary || text === "end") {
        this.#received.push(isBinary ? (data as Buffer) : "end");
      } else {
        this.#consumed = Number(text);
      }
      this.#changed();
    });
  }

  /** Sends a message when the window has room. */
  async send(message: Uint8Array): Promise<void> {
    while (this.#sent - this.#consumed >= WINDOW_BYTES && !this.gone.signal.aborted) {
      await this.#change();
    }
    this.#sent += message.length;
    this.#socket.send(message);
  }

  /** Yields the input until the client ends it. */
  async *input(method: DescMethodStreaming) {
    for (;;) {
      const message = this.#received.shift();
      if (message === "end" || this.gone.signal.aborted) {
        return;
      }
      if (message) {
        yield create(method.input, fromBinary(method.input, message));
      } else {
        await this.#change();
      }
    }
  }

  #change(): Promise<void> {
    const previous = this.#changed;
    return new Promise((resolve) => {
      this.#changed = () => {
        previous();
        resolve();
      };
    });
  }
}
