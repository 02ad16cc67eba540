/** The user that the dashboard acts for. */
import { computed, signal } from "@preact/signals";

/** The user, as `GET /session` returns it. */
export interface Session {
  /** Subject of the user's certificate (RFC 4514), which is also the owner of the jobs that the user creates. */
  readonly subject: string;
  readonly role: string;
  /** Address of the server, such as `localhost:50051`. */
  readonly server: string;
  /** True = the server is the gateway of a cluster. */
  readonly gateway: boolean;
  /** `own` = the dashboard has the user's certificate. `delegated` = the user has logged in to a shared dashboard. */
  readonly mode: "own" | "delegated";
  readonly version: string;
}

type SessionState =
  | { readonly kind: "loading" }
  | { readonly kind: "user"; readonly user: Session }
  | { readonly kind: "replace"; readonly user: Session; readonly token: string }
  | { readonly kind: "login"; readonly message: string }
  | { readonly kind: "failed"; readonly message: string };

/** The user, or the reason why the user is not known. */
export const session = signal<SessionState>({ kind: "loading" });

/** The user, once the session is known. */
export const user = computed(() => (session.value.kind === "user" ? session.value.user : undefined));

/** True if the user may create, stop and delete jobs. The server checks it again. */
export const isAdmin = computed(() => user.value?.role.toLowerCase() === "admin");

/** True if the server runs jobs on the nodes of a cluster. */
export const isGateway = computed(() => user.value?.gateway ?? false);

/** Asks the dashboard who the user is. */
export async function loadSession(): Promise<void> {
  session.value = await request({ method: "GET" });
}

/** Exchanges the one-time token of a login link for a session. */
export async function logIn(token: string): Promise<void> {
  session.value = await request({
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ token }),
  });
}

/**
 * Follows a login link. Asks first if the link would replace the session of a shared dashboard, because another user can
 * have made the link.
 */
export async function followLoginLink(token: string): Promise<void> {
  const current = await request({ method: "GET" });
  if (current.kind === "user" && current.user.mode === "delegated") {
    session.value = { ...current, kind: "replace", token };
  } else {
    await logIn(token);
  }
}

/** Goes on with the session that a login link would have replaced. */
export function keepSession(user: Session): void {
  session.value = { kind: "user", user };
}

/** Ends the session of this browser, with the streams of all its tabs. */
export async function logOut(): Promise<void> {
  session.value = await request({ method: "DELETE" });
}

/** Ends the session in this page: a call was refused because the user is not logged in any more. */
export function requireLogin(message: string): void {
  session.value = { kind: "login", message };
}

async function request(init: RequestInit): Promise<SessionState> {
  try {
    const response = await fetch("/session", { ...init, credentials: "same-origin", cache: "no-store" });
    return await readSession(response);
  } catch (error) {
    return { kind: "failed", message: `The dashboard did not answer: ${String(error)}` };
  }
}

async function readSession(response: Response): Promise<SessionState> {
  if (response.status === 204) {
    return { kind: "login", message: "You have logged out." };
  }
  if (response.ok) {
    return { kind: "user", user: (await response.json()) as Session };
  }
  const message = await messageOf(response);
  if (response.status === 401 || response.status === 403) {
    return { kind: "login", message };
  }
  return { kind: "failed", message: message || `The dashboard answered with HTTP ${response.status}.` };
}

/** Returns the message of an error response of the dashboard, or "". */
async function messageOf(response: Response): Promise<string> {
  try {
    const { message } = (await response.json()) as { message?: unknown };
    return typeof message === "string" ? message : "";
  } catch {
    return "";
  }
}
