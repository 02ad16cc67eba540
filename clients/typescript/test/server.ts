/** A server with mutual TLS for tests, and its certificates. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createSecureServer, type Http2SecureServer, type ServerHttp2Session } from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, ConnectError, type ConnectRouter, type ServiceImpl } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { Client, type ClientConfig, durationFromMs } from "@jobworker/client";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "../src/gen/google/rpc/error_details_pb.js";
import { ClusterService } from "../src/gen/jobworker/v1/cluster_service_pb.js";
import { JobService } from "../src/gen/jobworker/v1/job_service_pb.js";

export type Methods = Partial<ServiceImpl<typeof JobService>>;
export type ClusterMethods = ServiceImpl<typeof ClusterService>;

/** Returns the routes of a server. With the methods of a cluster it is a gateway. */
export function routes(methods: Methods, cluster?: ClusterMethods): (router: ConnectRouter) => void {
  return (router) => {
    router.service(JobService, methods);
    if (cluster) {
      router.service(ClusterService, cluster);
    }
  };
}

/** A directory of certificates from `jobworkerd certs init`. Disposing of it removes the directory. */
export class Certificates implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), "jobworker-certs-"));

  constructor() {
    const argv = ["certs", "init", "--dir", this.directory, "--host", "localhost", "--host", "127.0.0.1"];
    execFileSync("jobworkerd", argv, { stdio: "pipe" });
  }

  read(name: string): Buffer {
    return readFileSync(join(this.directory, name));
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true });
  }
}

/** A running server with the given methods. */
export class TestServer implements AsyncDisposable {
  readonly #server: Http2SecureServer;
  readonly #sockets = new Set<Socket>();
  /** The newest connection. */
  session: ServerHttp2Session | undefined;
  readonly #certs: Certificates;

  private constructor(server: Http2SecureServer, certs: Certificates) {
    this.#server = server;
    this.#certs = certs;
    server.on("session", (session) => {
      this.session = session;
    });
    server.on("secureConnection", (socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
      socket.on("error", () => undefined);
    });
  }

  static async start(
    certs: Certificates,
    methods: Methods,
    port = 0,
    cluster?: ClusterMethods,
  ): Promise<TestServer> {
    const pem = {
      ca: certs.read("ca.pem"),
      cert: certs.read("server.pem"),
      key: certs.read("server-key.pem"),
    };
    const server = createSecureServer(
      { ...pem, requestCert: true, rejectUnauthorized: true, minVersion: "TLSv1.3" },
      connectNodeAdapter({ routes: routes(methods, cluster) }),
    );
    const running = new TestServer(server, certs);
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    return running;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Returns a client of this server. */
  client(config: ClientConfig = {}): Client {
    return new Client({ server: `127.0.0.1:${this.port}`, certs: this.#certs.directory, ...config });
  }

  /** Destroys every connection, as the death of the server does. */
  disconnect(): void {
    for (const socket of this.#sockets) {
      socket.destroy();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.disconnect();
    await closed;
  }
}

/** Returns an error with the details that the server adds: with a field also the field and a delay of 1.5 s. */
export function serverError(code: Code, reason: string, field?: string): ConnectError {
  const info = {
    desc: ErrorInfoSchema,
    value: { reason, domain: "jobworker.dev", metadata: { key: reason } },
  };
  const violation = { field: field ?? "", description: "is invalid" };
  const bad = { desc: BadRequestSchema, value: { fieldViolations: [violation] } };
  const retry = { desc: RetryInfoSchema, value: { retryDelay: durationFromMs(1_500) } };
  return new ConnectError(`failed: ${reason}`, code, undefined, field ? [info, bad, retry] : [info]);
}

/** Returns the error of a server that restarts. */
export function unavailable(): ConnectError {
  return serverError(Code.Unavailable, "SUPERVISOR_UNAVAILABLE");
}
