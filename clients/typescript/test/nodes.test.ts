import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Code } from "@connectrpc/connect";
import type { JobClient } from "../src/core/client.js";
import { DashboardServer } from "./dashboard_server.js";
import { failsWith } from "./failure.js";
import { Certificates, type ClusterMethods, serverError, TestServer } from "./server.js";

const certs = new Certificates();
after(() => certs[Symbol.dispose]());

async function names(client: JobClient): Promise<string[]> {
  const found: string[] = [];
  for await (const { name } of client.listNodes()) {
    found.push(name);
  }
  return found;
}

/** Returns a cluster with two pages of nodes, whose first call fails. */
function cluster(): ClusterMethods {
  let calls = 0;
  return {
    listNodes({ pageToken }) {
      calls += 1;
      if (calls === 1) {
        throw serverError(Code.Unavailable, "CLUSTER_UNAVAILABLE");
      }
      return pageToken === "2"
        ? { nodes: [{ name: "c" }], nextPageToken: "" }
        : { nodes: [{ name: "a" }, { name: "b" }], nextPageToken: "2" };
    },
  };
}

test("listNodes yields the nodes of all pages, after a retry", async () => {
  await using server = await TestServer.start(certs, {}, 0, cluster());
  using client = server.client();
  assert.deepEqual(await names(client), ["a", "b", "c"]);
});

test("a page of the dashboard lists nodes, too", async () => {
  await using server = await DashboardServer.start({}, cluster());
  using client = server.client();
  assert.deepEqual(await names(client), ["a", "b", "c"]);
});

test("a single host has no nodes", async () => {
  await using server = await TestServer.start(certs, {});
  using client = server.client();
  await assert.rejects(names(client), failsWith({ code: "UNIMPLEMENTED" }));
});

test("an unreachable node is retried, and has a reason", async () => {
  let calls = 0;
  await using server = await TestServer.start(certs, {
    getJob() {
      calls += 1;
      throw serverError(Code.Unavailable, "NODE_UNREACHABLE");
    },
  });
  using client = server.client();
  await assert.rejects(
    client.get("7"),
    failsWith({ code: "UNAVAILABLE", reason: "NODE_UNREACHABLE", retryable: true }),
  );
  assert.ok(calls > 1);
});
