/** From options and environment variables to what a connection needs, checked before the first call. */
import { join } from "node:path";
import type { SecureContext } from "node:tls";
import { ConfigurationError } from "./errors.js";
import { readSecureContext } from "./files.js";

const DEFAULT_PORT = "50051";

// gRPC writes a timeout with at most eight digits, and Connect counts in milliseconds: some 27 hours.
const LONGEST_TIMEOUT_MS = 99_999_999;

/** The role of a client certificate: admins may do everything, viewers what changes nothing. */
export type Role = "admin" | "viewer";

/** Where the server is and who we are. What is left out is as the command `jobworker` has it. */
export interface ClientOptions {
  /** `HOST:PORT`, `[IPv6]:PORT` or `HOST`. Default: `localhost:50051`. */
  readonly server?: string | undefined;
  /** A folder with `ca.pem`, `ROLE.pem` and `ROLE-key.pem`. Default: `/opt/job-worker/certs`. */
  readonly certs?: string | undefined;
  /** The certificate to take from that folder. Default: `admin`. */
  readonly role?: Role | undefined;
  /** The file of the CA that signed the server's certificate (PEM), instead of the folder's. */
  readonly ca?: string | undefined;
  /** The file of our certificate (PEM), instead of the folder's. */
  readonly cert?: string | undefined;
  /** The file of our certificate's key (PEM), instead of the folder's. */
  readonly key?: string | undefined;
  /** The name that the server's certificate must have, if not HOST. */
  readonly serverName?: string | undefined;
  /** How long a call that does not wait for a job may take, in milliseconds. Default: 30 s. */
  readonly timeoutMs?: number | undefined;
}

/** Options that have been checked. */
export interface Settings {
  /** `HOST:PORT`. */
  readonly server: string;
  readonly secureContext: SecureContext;
  readonly serverName: string | undefined;
  readonly timeoutMs: number;
}

/** Returns the options that the variables `JOBWORKER_…` give; an empty one counts as unset. */
export function optionsFromEnv(env: NodeJS.ProcessEnv): ClientOptions {
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

/** Checks options and reads the files that they name; throws a ConfigurationError if it cannot. */
export function settingsOf(options: ClientOptions): Settings {
  const role: string = options.role ?? "admin";
  if (role !== "admin" && role !== "viewer") {
    throw new ConfigurationError(`there is no role "${role}": set role (JOBWORKER_ROLE) to admin or viewer`);
  }
  const certs = options.certs ?? "/opt/job-worker/certs";
  return {
    server: addressOf(options.server ?? "localhost"),
    secureContext: readSecureContext(
      options.ca ?? join(certs, "ca.pem"),
      options.cert ?? join(certs, `${role}.pem`),
      options.key ?? join(certs, `${role}-key.pem`),
    ),
    serverName: options.serverName,
    timeoutMs: checkedTimeout(options.timeoutMs ?? 30_000),
  };
}

/** Returns a timeout in whole milliseconds, or throws a ConfigurationError. */
export function checkedTimeout(timeoutMs: number): number {
  const whole = Math.ceil(timeoutMs);
  if (whole >= 1 && whole <= LONGEST_TIMEOUT_MS) {
    return whole;
  }
  throw new ConfigurationError(
    `timeoutMs is ${timeoutMs}: it must be more than 0 and at most ${LONGEST_TIMEOUT_MS} (27 hours)`,
  );
}

/** Returns HOST:PORT; the port may be left out, an IPv6 address wants brackets. */
function addressOf(server: string): string {
  const found = /^(\[[0-9a-fA-F:.%]+\]|[^:/?#@[\]\s]+)(?::(\d{1,5}))?$/.exec(server);
  const port = found?.[2] ?? DEFAULT_PORT;
  if (!found || Number(port) < 1 || Number(port) > 65_535) {
    throw new ConfigurationError(
      `the server's address "${server}" is not HOST:PORT: ` +
        "set server (JOBWORKER_SERVER), for example localhost:50051 or [::1]:50051",
    );
  }
  return `${found[1]}:${port}`;
}
