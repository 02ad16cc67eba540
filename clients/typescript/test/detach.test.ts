import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Attachment } from "@jobworker/client";
import { AttachServer, PART } from "./attach_server.js";
import { failsWith } from "./failure.js";
import { textOf } from "./scripts.js";
import { Certificates } from "./server.js";

const certs = new Certificates();
after(() => certs[Symbol.dispose]());

test("detach ends the call after the signals", async () => {
  const job = new AttachServer(certs);
  await using server = await job.start();
  using client = server.client();
  const attachment = client.attach("1");
  await attachment.write(Buffer.from("abc"));
  attachment.signal("USR1");
  attachment.resize(80, 24);
  await attachment.detach();
  assert.deepEqual(job.events, ["USR1", "80x24", "detach", "end"]);
  assert.equal(await textOf(attachment), "abc");
  await assert.rejects(attachment.result(), failsWith({ code: "CANCELLED" }));
  await assert.rejects(attachment.write(Buffer.from("d")), failsWith({ code: "FAILED_PRECONDITION" }));
  await attachment.end();
  await attachment.detach();
  assert.equal(job.starts.length, 1);
});

test("leaving the loop detaches", async () => {
  const job = new AttachServer(certs);
  await using server = await job.start();
  using client = server.client();
  const attachment = client.attach("1");
  await attachment.write(Buffer.from("abc"));
  for await (const chunk of attachment) {
    assert.equal(Buffer.from(chunk.data).toString(), "abc");
    break;
  }
  assert.deepEqual(job.events, ["detach", "end"]);
});

test("detach from a server that does not answer", async () => {
  const job = new AttachServer(certs, { silent: true });
  await using server = await job.start();
  using client = server.client();
  const attachment = client.attach("1");
  await attachment.detach();
  assert.equal(await job.event(), "detach");
  assert.equal(await job.event(), "end");
});

test("detach while the server is away", async () => {
  const job = new AttachServer(certs, { faults: Array(100).fill({ part: 0 }) });
  await using server = await job.start();
  using client = server.client();
  const attachment = client.attach("1");
  for (let round = 0; round < 3; round += 1) {
    await job.event();
  }
  // The client now waits for 500 ms before the next call.
  await sleep(50);
  await attachment.detach();
  assert.equal(await textOf(attachment), "");
});

/** Writes more than the client receives without a reader, and returns the write when it waits. */
async function writeUntilItWaits(
  attachment: Attachment,
  job: AttachServer,
): Promise<{ writing: Promise<void> }> {
  const writing = attachment.write(Buffer.alloc(60 * PART));
  writing.catch(() => undefined);
  for (let before = -1; before < job.input.length; await sleep(150)) {
    before = job.input.length;
  }
  assert.ok(job.input.length < 30 * PART, "the client receives output without bounds");
  return { writing };
}

test("detach with unread output", async () => {
  const job = new AttachServer(certs);
  await using server = await job.start();
  using client = server.client();
  const attachment = client.attach("1");
  const { writing } = await writeUntilItWaits(attachment, job);
  await attachment.detach();
  await assert.rejects(writing, failsWith({ code: "FAILED_PRECONDITION" }));
});

test("a signal cancels an attachment with unread output", async () => {
  const job = new AttachServer(certs);
  await using server = await job.start();
  using client = server.client();
  const controller = new AbortController();
  const { writing } = await writeUntilItWaits(client.attach("1", { signal: controller.signal }), job);
  controller.abort();
  await assert.rejects(writing, failsWith({ code: "CANCELLED" }));
  await job.idle();
});
