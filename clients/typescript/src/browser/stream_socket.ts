/**
 * One streaming call over a WebSocket.
 *
 * Each binary message is one protobuf message. The client sends two kinds of text messages: `end` ends its input, and a
 * number says how many bytes of messages the page has consumed. The dashboard sends at most 4 MiB more than that,
 * because a browser buffers without a bound what a page does not consume. The last message of the dashboard is text:
 * the end-of-stream message of the Connect protocol, which has the status of the call.
 */
import { Code, ConnectError } from "@connectrpc/connect";
import { endStreamFromJson } from "@connectrpc/connect/protocol-connect";
import { BoundedQueue } from "../core/bounded_queue.js";

const SUBPROTOCOL = "jobworker.v1";

// How many bytes the page consumes before it says so. A quarter of what the dashboard sends ahead, so that the stream
// does not pause.
const CONSUMED_STEP = 1024 * 1024;

// The value of WebSocket.CONNECTING.
const CONNECTING = 0;

const ENDED = new ConnectError("the call has ended", Code.Canceled);

/** The messages of the server as an asynchronous iterable, and the input of the call. */
export class StreamSocket implements AsyncIterable<Uint8Array<ArrayBuffer>> {
  readonly #socket: WebSocket;
  // Bounded by the dashboard.
  readonly #received = new BoundedQueue<Uint8Array<ArrayBuffer>>(Number.POSITIVE_INFINITY);
  #isEnded = false;
  #failToOpen: (error: Error) => void = () => undefined;
  /** Resolves when input can be sent. Fails if the call ends before. */
  readonly opened: Promise<void>;

  constructor(url: string, webSocket: typeof WebSocket) {
    this.#socket = new webSocket(url, SUBPROTOCOL);
    this.#socket.binaryType = "arraybuffer";
    this.opened = new Promise((resolve, reject) => {
      this.#socket.onopen = () => resolve();
      this.#failToOpen = reject;
    });
    this.#socket.onmessage = ({ data }) => this.#receive(data);
    // The event of an error has no details, and a close follows it.
    this.#socket.onerror = () => undefined;
    this.#socket.onclose = () =>
      this.fail(new ConnectError("the connection to the dashboard broke", Code.Unavailable));
  }

  /** Sends a message. Throws if the call has ended: the message is then part of the next call. */
  send(message: Uint8Array<ArrayBuffer>): void {
    if (this.#isEnded) {
      throw ENDED;
    }
    this.#socket.send(message);
  }

  /** Ends the input. */
  endInput(): void {
    this.#sendText("end");
  }

  /** Ends the call with an error, unless it has ended. */
  fail(error: unknown): void {
    this.#end(ConnectError.from(error));
  }

  /** Ends the call. */
  close(): void {
    this.#end();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
    let [consumed, reported] = [0, 0];
    for await (const message of this.#received) {
      yield message;
      consumed += message.length;
      if (consumed - reported >= CONSUMED_STEP) {
        reported = consumed;
        this.#sendText(String(consumed));
      }
    }
  }

  #sendText(text: string): void {
    if (!this.#isEnded) {
      this.#socket.send(text);
    }
  }

  #receive(data: string | ArrayBuffer): void {
    if (this.#isEnded) {
      return;
    }
    if (typeof data === "string") {
      this.#end(statusOf(data));
    } else {
      void this.#received.put(new Uint8Array(data));
    }
  }

  #end(error?: ConnectError): void {
    if (!this.#isEnded) {
      this.#isEnded = true;
      this.#failToOpen(error ?? ENDED);
      this.#received.close(error);
      this.#close();
    }
  }

  /** Closes the connection once it is open. Browsers log an error for a connection that is closed before. */
  #close(): void {
    const socket = this.#socket;
    if (socket.readyState === CONNECTING) {
      socket.onopen = () => socket.close();
    } else {
      socket.close();
    }
  }
}

/** Returns the error in the end-of-stream message. Undefined if the call has succeeded. */
function statusOf(text: string): ConnectError | undefined {
  try {
    return endStreamFromJson(text).error;
  } catch (error) {
    return ConnectError.from(error);
  }
}
