/** The client's configuration, checked before the first call. */
import { join } from "node:path";
import type { SecureContext } from "node:tls";
import { checkedTimeout } from "../core/call_context.js";
import { ConfigError } from "../core/errors.js";
import { readSecureContext } from "./pem.js";

const DEFAULT_PORT = "50051";

/** The role of a client certificate. An admin can call every method, a viewer those that change nothing. */
export type Role = "admin" | "viewer";

/** The address of a server and the client's certificate. The defaults are those of the `jobworker` command. */
export interface ClientConfig {
  /** `HOST:PORT`, `[IPv6]:PORT` or `HOST`. Default: `localhost:50051`. */
  readonly server?: string | undefined;
  /** Directory that contains `ca.pem`, `ROLE.pem` and `ROLE-key.pem`. Default: `/opt/job-worker/certs`. */
  readonly certs?: string | undefined;
  /** Role of the certificate in that directory. Default: `admin`. */
  readonly role?: Role | undefined;
  /** CA certificate file (PEM) that verifies the server. Default: `ca.pem` in `certs`. */
  readonly ca?: string | undefined;
  /** Client certificate file (PEM). Default: `ROLE.pem` in `certs`. */
  readonly cert?: string | undefined;
  /** Client key file (PEM). Default: `ROLE-key.pem` in `certs`. */
  readonly key?: string | undefined;
  /** Name expected in the server's certificate. Default: HOST. */
  readonly serverName?: string | undefined;
  /** Time limit in milliseconds of calls that do not wait for a job. Default: 30 s. */
  readonly timeoutMs?: number | undefined;
}

/** A configuration that has been checked. */
export interface ResolvedConfig {
  /** `HOST:PORT`. */
  readonly server: string;
  readonly secureContext: SecureContext;
  readonly serverName: string | undefined;
  readonly timeoutMs: number;
}

/** Returns the configuration in the `JOBWORKER_` environment variables. An empty variable counts as unset. */
export function configFromEnv(env: NodeJS.ProcessEnv): ClientConfig {
  return {
    server: env.JOBWORKER_SERVER || undefined,
    certs: env.JOBWORKER_CERTS || undefined,
    role: (env.JOBWORKER_ROLE || undefined) as Role | undefined,
    ca: env.JOBWORKER_CA || undefined,
    cert: env.JOBWORKER_CERT || undefined,
    key: env.JOBWORKER_KEY || undefined,
    serverName: env.JOBWORKER_SERVER_NAME || undefined,
  };
}

/**
 * Checks a configuration and reads its files.
 *
 * @throws ConfigError if a value or a file is unusable.
 */
export function resolveConfig(config: ClientConfig): ResolvedConfig {
  const role: string = config.role ?? "admin";
  if (role !== "admin" && role !== "viewer") {
    throw new ConfigError(`unknown role "${role}"; set role (JOBWORKER_ROLE) to admin or viewer`);
  }
  const certs = config.certs ?? "/opt/job-worker/certs";
  return {
    server: addressOf(config.server ?? "localhost"),
    secureContext: readSecureContext(
      config.ca ?? join(certs, "ca.pem"),
      config.cert ?? join(certs, `${role}.pem`),
      config.key ?? join(certs, `${role}-key.pem`),
    ),
    serverName: config.serverName,
    timeoutMs: checkedTimeout(config.timeoutMs ?? 30_000),
  };
}

/** Returns HOST:PORT. The port is optional, and an IPv6 address must be in brackets. */
function addressOf(server: string): string {
  const match = /^(\[[0-9a-fA-F:.%]+\]|[^:/?#@[\]\s]+)(?::(\d{1,5}))?$/.exec(server);
  const port = match?.[2] ?? DEFAULT_PORT;
  if (!match || Number(port) < 1 || Number(port) > 65_535) {
    throw new ConfigError(
      `server address "${server}" is not HOST:PORT; ` +
        "set server (JOBWORKER_SERVER), for example to localhost:50051 or [::1]:50051",
    );
  }
  return `${match[1]}:${port}`;
}
