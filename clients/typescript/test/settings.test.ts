import assert from "node:assert/strict";
import { join } from "node:path";
import { after, test } from "node:test";
import { Client, type ClientOptions } from "@jobworker/client";
import { optionsFromEnv, settingsOf } from "../src/settings.js";
import { Certificates, ScriptedServer } from "./scripted.js";

const certs = new Certificates();
after(() => certs[Symbol.dispose]());

const at = (name: string): string => join(certs.folder, name);

test("the environment names what the command's names", () => {
  const env = {
    JOBWORKER_SERVER: "host:1",
    JOBWORKER_CERTS: "/certs",
    JOBWORKER_ROLE: "viewer",
    JOBWORKER_CA: "/ca",
    JOBWORKER_CERT: "/cert",
    JOBWORKER_KEY: "/key",
    JOBWORKER_SERVER_NAME: "",
  };
  assert.deepEqual(optionsFromEnv(env), {
    server: "host:1",
    certs: "/certs",
    role: "viewer",
    ca: "/ca",
    cert: "/cert",
    key: "/key",
    serverName: undefined,
  });
});

test("fromEnv connects with the folder and the role of the environment, options before them", async () => {
  await using server = await ScriptedServer.started(certs, { getJob: ({ id }) => ({ job: { id } }) });
  const env = { JOBWORKER_SERVER: "localhost:1", JOBWORKER_CERTS: certs.folder, JOBWORKER_ROLE: "viewer" };
  using client = Client.fromEnv({ server: `localhost:${server.port}`, role: undefined }, env);
  assert.equal((await client.get("1")).id, "1");
});

test("files are taken before the folder's", async () => {
  await using server = await ScriptedServer.started(certs, { getJob: ({ id }) => ({ job: { id } }) });
  const files = { ca: at("ca.pem"), cert: at("viewer.pem"), key: at("viewer-key.pem") };
  using client = server.client({ certs: "/nowhere", ...files });
  assert.equal((await client.get("1")).id, "1");
});

test("the server's certificate must have serverName", async () => {
  await using server = await ScriptedServer.started(certs, { getJob: ({ id }) => ({ job: { id } }) });
  using right = server.client({ serverName: "localhost" });
  assert.equal((await right.get("1")).id, "1");
  using wrong = server.client({ serverName: "elsewhere" });
  await assert.rejects(wrong.get("1"), { code: "UNAVAILABLE", retryable: false, message: /elsewhere/ });
});

for (const [server, address] of [
  [undefined, "localhost:50051"],
  ["host", "host:50051"],
  ["host:1", "host:1"],
  ["[::1]:2", "[::1]:2"],
  ["[::1]", "[::1]:50051"],
] as const) {
  test(`the address of ${server} is ${address}`, () => {
    assert.equal(settingsOf({ server, certs: certs.folder }).server, address);
  });
}

const MISTAKES: [string, () => ClientOptions, RegExp][] = [
  [
    "an address without a number",
    () => ({ server: "host:port" }),
    /"host:port" is not HOST:PORT: set server/,
  ],
  ["a port that is none", () => ({ server: "host:70000" }), /is not HOST:PORT/],
  ["an IPv6 address without brackets", () => ({ server: "::1" }), /for example localhost:50051 or \[::1\]/],
  ["a URL", () => ({ server: "https://host" }), /is not HOST:PORT/],
  ["a role", () => ({ role: "root" as "admin" }), /no role "root": set role \(JOBWORKER_ROLE\)/],
  ["a timeout", () => ({ timeoutMs: 0 }), /timeoutMs is 0: it must be more than 0/],
  ["no timeout at all", () => ({ timeoutMs: Number.NaN }), /timeoutMs is NaN/],
];

for (const [name, options, message] of MISTAKES) {
  test(`a wrong option is told of at once: ${name}`, () => {
    const make = (): Client => new Client({ certs: certs.folder, ...options() });
    assert.throws(make, { name: "ConfigurationError", message });
  });
}

test("a call's timeout is checked, too", async () => {
  using client = new Client({ certs: certs.folder });
  await assert.rejects(client.get("1", { timeoutMs: -1 }), { name: "ConfigurationError" });
});
