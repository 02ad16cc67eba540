import assert from "node:assert/strict";
import { join } from "node:path";
import { after, test } from "node:test";
import { Client, type ClientConfig } from "@jobworker/client";
import { configFromEnv, resolveConfig } from "../src/node/config.js";
import { Certificates, TestServer } from "./server.js";

const certs = new Certificates();
after(() => certs[Symbol.dispose]());

const at = (name: string): string => join(certs.directory, name);

test("configFromEnv reads the variables of the command", () => {
  const env = {
    JOBWORKER_SERVER: "host:1",
    JOBWORKER_CERTS: "/certs",
    JOBWORKER_ROLE: "viewer",
    JOBWORKER_CA: "/ca",
    JOBWORKER_CERT: "/cert",
    JOBWORKER_KEY: "/key",
    JOBWORKER_SERVER_NAME: "",
  };
  assert.deepEqual(configFromEnv(env), {
    server: "host:1",
    certs: "/certs",
    role: "viewer",
    ca: "/ca",
    cert: "/cert",
    key: "/key",
    serverName: undefined,
  });
});

test("fromEnv merges the environment with the configuration, which takes precedence", async () => {
  await using server = await TestServer.start(certs, { getJob: ({ id }) => ({ job: { id } }) });
  const env = { JOBWORKER_SERVER: "localhost:1", JOBWORKER_CERTS: certs.directory, JOBWORKER_ROLE: "viewer" };
  using client = Client.fromEnv({ server: `localhost:${server.port}`, role: undefined }, env);
  assert.equal((await client.get("1")).id, "1");
});

test("single files take precedence over the directory", async () => {
  await using server = await TestServer.start(certs, { getJob: ({ id }) => ({ job: { id } }) });
  const files = { ca: at("ca.pem"), cert: at("viewer.pem"), key: at("viewer-key.pem") };
  using client = server.client({ certs: "/nowhere", ...files });
  assert.equal((await client.get("1")).id, "1");
});

test("serverName must match the server's certificate", async () => {
  await using server = await TestServer.start(certs, { getJob: ({ id }) => ({ job: { id } }) });
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
    assert.equal(resolveConfig({ server, certs: certs.directory }).server, address);
  });
}

const INVALID: [string, () => ClientConfig, RegExp][] = [
  [
    "a port that is not a number",
    () => ({ server: "host:port" }),
    /"host:port" is not HOST:PORT; set server/,
  ],
  ["a port that is out of range", () => ({ server: "host:70000" }), /is not HOST:PORT/],
  [
    "an IPv6 address without brackets",
    () => ({ server: "::1" }),
    /for example to localhost:50051 or \[::1\]/,
  ],
  ["a URL", () => ({ server: "https://host" }), /is not HOST:PORT/],
  ["a role", () => ({ role: "root" as "admin" }), /unknown role "root"; set role \(JOBWORKER_ROLE\)/],
  ["a timeout", () => ({ timeoutMs: 0 }), /timeoutMs: 0 is out of range; use more than 0/],
  ["a timeout that is not a number", () => ({ timeoutMs: Number.NaN }), /timeoutMs: NaN is out of range/],
];

for (const [name, config, message] of INVALID) {
  test(`an invalid configuration is an error: ${name}`, () => {
    const make = (): Client => new Client({ certs: certs.directory, ...config() });
    assert.throws(make, { name: "ConfigError", message });
  });
}

test("the timeout of a call is checked", async () => {
  using client = new Client({ certs: certs.directory });
  await assert.rejects(client.get("1", { timeoutMs: -1 }), { name: "ConfigError" });
});
