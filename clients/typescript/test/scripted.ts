/** A server over mutual TLS whose methods a test writes, and the certificates for it. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createSecureServer, type Http2SecureServer, type ServerHttp2Session } from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { Client, type ClientOptions } from "@jobworker/client";
import { BadRequestSchema, ErrorInfoSchema } from "../src/gen/google/rpc/error_details_pb.js";
import { JobService } from "../src/gen/jobworker/v1/job_service_pb.js";

export type Methods = Partial<ServiceImpl<typeof JobService>>;

/** A folder of certificates, made by the command that users have; dispose of it to remove it. */
export class Certificates implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), "jobworker-certs-"));

  constructor() {
    const argv = ["certs", "init", "--dir", this.folder, "--host", "localhost", "--host", "127.0.0.1"];
    execFileSync("jobworkerd", argv, { stdio: "pipe" });
  }

  read(name: string): Buffer {
    return readFileSync(join(this.folder, name));
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true });
  }
}

/** A running server. `address` is its HOST:PORT. */
export class ScriptedServer implements AsyncDisposable {
  readonly #server: Http2SecureServer;
  readonly #sockets = new Set<Socket>();
  /** The last connection. */
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

  static async started(certs: Certificates, methods: Methods, port = 0): Promise<ScriptedServer> {
    const pem = {
      ca: certs.read("ca.pem"),
      cert: certs.read("server.pem"),
      key: certs.read("server-key.pem"),
    };
    const server = createSecureServer(
      { ...pem, requestCert: true, rejectUnauthorized: true, minVersion: "TLSv1.3" },
      connectNodeAdapter({ routes: (router) => router.service(JobService, methods) }),
    );
    const started = new ScriptedServer(server, certs);
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    return started;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Makes a client of this server. */
  client(options: ClientOptions = {}): Client {
    return new Client({ server: `127.0.0.1:${this.port}`, certs: this.#certs.folder, ...options });
  }

  /** Cuts every connection, as a killed server does. */
  cut(): void {
    for (const socket of this.#sockets) {
      socket.destroy();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.cut();
    await closed;
  }
}

/** Returns an error as the service sends them. */
export function refusal(code: Code, reason: string, field?: string): ConnectError {
  const info = {
    desc: ErrorInfoSchema,
    value: { reason, domain: "jobworker.v1", metadata: { why: reason } },
  };
  const violation = { field: field ?? "", description: "is not right" };
  const bad = { desc: BadRequestSchema, value: { fieldViolations: [violation] } };
  return new ConnectError(`refused: ${reason}`, code, undefined, field ? [info, bad] : [info]);
}

/** Returns what the service says while it is being restarted. */
export function away(): ConnectError {
  return refusal(Code.Unavailable, "SUPERVISOR_UNAVAILABLE");
}
