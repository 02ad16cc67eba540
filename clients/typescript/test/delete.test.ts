import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Code } from "@connectrpc/connect";
import { failsWith } from "./failure.js";
import { Certificates, serverError, TestServer, unavailable } from "./server.js";

const certs = new Certificates();
after(() => certs[Symbol.dispose]());

test("delete sends the id", async () => {
  const ids: string[] = [];
  await using server = await TestServer.start(certs, {
    deleteJob({ id }) {
      ids.push(id);
      return {};
    },
  });
  using client = server.client();
  await client.delete("1");
  assert.deepEqual(ids, ["1"]);
});

test("delete fails if no job has the id", async () => {
  await using server = await TestServer.start(certs, {
    deleteJob() {
      throw serverError(Code.NotFound, "JOB_NOT_FOUND");
    },
  });
  using client = server.client();
  await assert.rejects(client.delete("1"), failsWith({ code: "NOT_FOUND", reason: "JOB_NOT_FOUND" }));
});

test("delete succeeds if a repeated attempt finds no job", async () => {
  let calls = 0;
  await using server = await TestServer.start(certs, {
    deleteJob() {
      calls += 1;
      throw calls === 1 ? unavailable() : serverError(Code.NotFound, "JOB_NOT_FOUND");
    },
  });
  using client = server.client();
  await client.delete("1");
  assert.equal(calls, 2);
});
