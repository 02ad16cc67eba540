import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Code } from "@connectrpc/connect";
import { AttachServer, PART, write } from "./attach_server.js";
import { failsWith } from "./failure.js";
import { textOf } from "./scripts.js";
import { Certificates, serverError } from "./server.js";

const certs = new Certificates();
after(() => certs[Symbol.dispose]());

test("refused input ends the attachment", async () => {
  const refused = failsWith({ code: "OUT_OF_RANGE", reason: "INPUT_OFFSET_OUT_OF_RANGE" });
  const job = new AttachServer(certs, {
    refusal: serverError(Code.OutOfRange, "INPUT_OFFSET_OUT_OF_RANGE"),
  });
  await using server = await job.start();
  using client = server.client();
  const attachment = client.attach("1");
  await assert.rejects(attachment.write(Buffer.from("gap")), refused);
  await assert.rejects(textOf(attachment), refused);
  await assert.rejects(attachment.write(Buffer.from("more")), refused);
  await assert.rejects(attachment.end(), refused);
  assert.equal(job.starts.length, 1);
});

test("a size applies to the next call", async () => {
  const job = new AttachServer(certs, { faults: [{ part: 2 }] });
  await using server = await job.start();
  using client = server.client();
  const attachment = client.attach("1", { size: { columns: 10, rows: 5 } });
  await attachment.write(Buffer.from("abc"));
  attachment.resize(80, 24);
  assert.equal(await job.event(), "80x24");
  await write(attachment, Buffer.from("def"));
  assert.deepEqual(
    job.starts.map(({ size }) => size?.columns),
    [10, 80],
  );
});

test("the next call repeats a redraw once", async () => {
  const job = new AttachServer(certs, { faults: [{ part: 2 }, { part: 0 }, { part: 1 }] });
  await using server = await job.start();
  using client = server.client();
  const attachment = client.attach("1");
  await attachment.write(Buffer.from("abc"));
  attachment.resize(80, 24, { redraw: true });
  assert.equal(await job.event(), "80x24 redraw");
  await write(attachment, Buffer.from("def"));
  // The server has answered the third call, but not the second one.
  assert.deepEqual(
    job.starts.map(({ redraw, size }) => [redraw, size?.redraw]),
    [
      [false, undefined],
      [true, false],
      [true, false],
      [false, false],
    ],
  );
});

test("four parts are sent until the server answers, and signals do not wait", async () => {
  const job = new AttachServer(certs, { silent: true });
  await using server = await job.start();
  using client = server.client();
  const controller = new AbortController();
  const attachment = client.attach("1", { signal: controller.signal });
  const writing = attachment.write(Buffer.alloc(6 * PART));
  const ending = attachment.end();
  for (let part = 0; part < 4; part += 1) {
    assert.equal(await job.event(), "input 65536");
  }
  attachment.signal("INT");
  assert.equal(await job.event(), "INT");
  controller.abort();
  const cancelled = failsWith({ code: "CANCELLED" });
  await Promise.all([
    assert.rejects(writing, cancelled),
    assert.rejects(ending, cancelled),
    assert.rejects(textOf(attachment), cancelled),
  ]);
  assert.equal(await job.event(), "end");
});

test("an attachment ends after its time limit", async () => {
  const job = new AttachServer(certs);
  await using server = await job.start();
  using client = server.client();
  const attachment = client.attach("1", { timeoutMs: 200 });
  await assert.rejects(textOf(attachment), failsWith({ code: "DEADLINE_EXCEEDED" }));
  assert.equal(await job.event(), "end");
});

test("an attachment without input sends only signals", async () => {
  const job = new AttachServer(certs);
  await using server = await job.start();
  using client = server.client();
  await using attachment = client.attach("1", { input: false });
  attachment.signal("INT");
  assert.equal(await job.event(), "INT");
  await assert.rejects(attachment.write(Buffer.from("a")), failsWith({ code: "FAILED_PRECONDITION" }));
  await attachment.end();
  assert.equal(job.starts[0]?.inputId, "");
});

test("a write fails after the end of the job", async () => {
  const job = new AttachServer(certs);
  await using server = await job.start();
  using client = server.client();
  const attachment = client.attach("1");
  await Promise.all([textOf(attachment), write(attachment, Buffer.from("abc"))]);
  await assert.rejects(attachment.write(Buffer.from("late")), failsWith({ code: "FAILED_PRECONDITION" }));
  await attachment.detach();
  assert.equal((await attachment.result()).exitCode, 0);
});

test("the size of the terminal is the newest", async () => {
  const sizes = [
    { columns: 90, rows: 24, logOffset: 5n },
    { columns: 80, rows: 24, logOffset: 0n },
  ];
  const job = new AttachServer(certs, { sizes });
  await using server = await job.start();
  using client = server.client();
  await using attachment = client.attach("1");
  await attachment.write(Buffer.from("abc"));
  assert.equal(attachment.terminalSize?.columns, 90);
});
