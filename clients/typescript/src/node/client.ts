/** The client for Node. */
import { type AttachOptions, JobClient } from "../core/client.js";
import { Attachment } from "./attachment.js";
import { type ClientConfig, configFromEnv, resolveConfig } from "./config.js";
import { TlsConnection } from "./connection.js";

/**
 * A client of one server. It connects when it makes the first call. One client is enough for a program.
 *
 * Methods fail with a `JobWorkerError`. Calls are retried while the server is unavailable, and streams resume at their
 * offset.
 */
export class Client extends JobClient {
  /**
   * Reads the certificates. Does not connect yet.
   *
   * @throws ConfigError if a value or a file is unusable.
   */
  constructor(config: ClientConfig = {}) {
    const resolved = resolveConfig(config);
    super(new TlsConnection(resolved), resolved.timeoutMs);
  }

  /** Returns a client for the `JOBWORKER_` environment variables. Values in `config` override them. */
  static fromEnv(config: ClientConfig = {}, env: NodeJS.ProcessEnv = process.env): Client {
    const overrides = Object.entries(config).filter(([, value]) => value !== undefined);
    return new Client({ ...configFromEnv(env), ...Object.fromEntries(overrides) });
  }

  override attach(id: string, options: AttachOptions = {}): Attachment {
    return new Attachment(...this.attachment(id, options));
  }
}
