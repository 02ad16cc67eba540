/** The transport of a page: unary calls over the Connect protocol, and streams over WebSockets. */
import {
  create,
  type DescMessage,
  type DescMethodStreaming,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { Code, ConnectError, type StreamResponse, type Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { StreamSocket } from "./stream_socket.js";

/** Gets `undefined` for each answer of the server, and the error of each call that fails. A cancelled call is neither. */
type Observe = (error?: unknown) => void;

/**
 * Returns a transport for the dashboard at `baseUrl`.
 *
 * A browser opens at most 6 connections to a host over HTTP/1.1, and streams would occupy them. This bound does not
 * apply to WebSockets.
 */
export function createBrowserTransport(
  baseUrl: string,
  webSocket: typeof WebSocket,
  observe: Observe,
): Transport {
  const connect = createConnectTransport({ baseUrl, useBinaryFormat: true, fetch: fetchWhole });
  return {
    async unary(method, signal, ...call) {
      try {
        const response = await connect.unary(method, signal, ...call);
        observe();
        return response;
      } catch (error) {
        signal?.throwIfAborted();
        observe(error);
        throw error;
      }
    },
    async stream(method, signal, _timeoutMs, _header, input) {
      const url = `${baseUrl.replace(/^http/, "ws")}/${method.parent.typeName}/${method.name}`;
      const messages = exchange(method, input, () => new StreamSocket(url, webSocket), signal, observe);
      return streamResponse(method, messages);
    },
  };
}

/** Fetches a response with its body, so that a connection that breaks inside the body is one error. */
async function fetchWhole(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
  try {
    const response = await fetch(input, init);
    return new Response(await response.arrayBuffer(), response);
  } catch (error) {
    init?.signal?.throwIfAborted();
    throw new ConnectError("cannot reach the dashboard", Code.Unavailable, undefined, undefined, error);
  }
}

/** Sends the input, and yields the messages of the server. The call ends with the iteration. */
async function* exchange<I extends DescMessage, O extends DescMessage>(
  method: DescMethodStreaming<I, O>,
  input: AsyncIterable<MessageInitShape<I>>,
  open: () => StreamSocket,
  signal: AbortSignal | undefined,
  observe: Observe,
): AsyncGenerator<MessageShape<O>, void, undefined> {
  signal?.throwIfAborted();
  const socket = open();
  const onAbort = (): void => socket.fail(signal?.reason);
  signal?.addEventListener("abort", onAbort);
  try {
    void sendInput(socket, method.input, input);
    for await (const data of socket) {
      signal?.throwIfAborted();
      observe();
      yield fromBinary(method.output, data);
    }
  } catch (error) {
    signal?.throwIfAborted();
    observe(error);
    throw error;
  } finally {
    signal?.removeEventListener("abort", onAbort);
    socket.close();
  }
}

/** Sends the messages of the input and its end. An error of the input ends the call. */
async function sendInput<I extends DescMessage>(
  socket: StreamSocket,
  schema: I,
  input: AsyncIterable<MessageInitShape<I>>,
): Promise<void> {
  try {
    await socket.opened;
    for await (const message of input) {
      socket.send(toBinary(schema, create(schema, message)));
    }
    socket.endInput();
  } catch (error) {
    socket.fail(error);
  }
}

function streamResponse<I extends DescMessage, O extends DescMessage>(
  method: DescMethodStreaming<I, O>,
  message: AsyncIterable<MessageShape<O>>,
): StreamResponse<I, O> {
  return {
    stream: true,
    service: method.parent,
    method,
    header: new Headers(),
    trailer: new Headers(),
    message,
  };
}
