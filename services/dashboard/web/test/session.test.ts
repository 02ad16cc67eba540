import assert from "node:assert/strict";
import { afterEach, mock, test } from "node:test";
import {
  followLoginLink,
  isAdmin,
  isGateway,
  keepSession,
  loadSession,
  logIn,
  logOut,
  requireLogin,
  session,
  user,
} from "../src/app/session.js";

const ALICE = {
  subject: "CN=alice,OU=Admin",
  role: "admin",
  server: "host:1",
  gateway: true,
  mode: "own",
  version: "1",
};

function answer(status: number, body: unknown) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return mock.method(globalThis, "fetch", async () => new Response(text, { status }));
}

afterEach(() => mock.restoreAll());

test("the user comes from the session", async () => {
  answer(200, ALICE);
  await loadSession();
  assert.deepEqual(user.value, ALICE);
  assert.equal(isAdmin.value, true);
  assert.equal(isGateway.value, true);
});

test("a viewer is not an admin", async () => {
  answer(200, { ...ALICE, role: "Viewer" });
  await loadSession();
  assert.equal(isAdmin.value, false);
});

test("without a session, the user has to log in, and sees the reason", async () => {
  answer(401, { message: "the session has expired" });
  await loadSession();
  assert.deepEqual(session.value, { kind: "login", message: "the session has expired" });
  assert.equal(user.value, undefined);
  assert.equal(isAdmin.value, false);
});

test("the token of a login link is sent in the body, not in the address", async () => {
  const fetch = answer(200, ALICE);
  await logIn("TOKEN");
  const [address, init] = fetch.mock.calls[0]?.arguments ?? [];
  assert.equal(address, "/session");
  assert.equal(init?.method, "POST");
  assert.deepEqual(JSON.parse(String(init?.body)), { token: "TOKEN" });
});

test("a login link does not replace the session of a shared dashboard unasked", async () => {
  const shared = { ...ALICE, mode: "delegated" as const };
  const fetch = answer(200, shared);
  await followLoginLink("TOKEN");
  assert.deepEqual(session.value, { kind: "replace", user: shared, token: "TOKEN" });
  assert.deepEqual(
    fetch.mock.calls.map((call) => call.arguments[1]?.method),
    ["GET"],
  );
  keepSession(shared);
  assert.deepEqual(user.value, shared);
});

test("a login link is followed without a session, and on the user's own dashboard", async () => {
  for (const [status, body] of [
    [401, { message: "no session" }],
    [200, ALICE],
  ] as const) {
    const fetch = answer(status, body);
    await followLoginLink("TOKEN");
    assert.deepEqual(
      fetch.mock.calls.map((call) => call.arguments[1]?.method),
      ["GET", "POST"],
    );
    mock.restoreAll();
  }
});

test("after a logout, the user has to log in", async () => {
  answer(200, ALICE);
  await loadSession();
  mock.restoreAll();
  const fetch = mock.method(globalThis, "fetch", async () => new Response(null, { status: 204 }));
  await logOut();
  assert.equal(fetch.mock.calls[0]?.arguments[1]?.method, "DELETE");
  assert.deepEqual(session.value, { kind: "login", message: "You have logged out." });
});

test("a logout that fails is not shown as one", async () => {
  answer(502, "<html>");
  await logOut();
  assert.equal(session.value.kind, "failed");
});

test("a dashboard that fails or does not answer is not a missing login", async () => {
  answer(502, "<html>");
  await loadSession();
  assert.deepEqual(session.value, { kind: "failed", message: "The dashboard answered with HTTP 502." });
  mock.restoreAll();
  mock.method(globalThis, "fetch", async () => Promise.reject(new TypeError("Failed to fetch")));
  await loadSession();
  assert.match(session.value.kind === "failed" ? session.value.message : "", /did not answer/);
});

test("a refused call ends the session in the page", async () => {
  answer(200, ALICE);
  await loadSession();
  requireLogin("revoked");
  assert.deepEqual(session.value, { kind: "login", message: "revoked" });
});
