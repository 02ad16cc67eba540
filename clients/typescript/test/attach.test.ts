import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Code } from "@connectrpc/connect";
import type { Attachment } from "@jobworker/client";
import { AttachServer } from "./attach_server.js";
import { failsWith } from "./failure.js";
import { Certificates, serverError } from "./server.js";

const certs = new Certificates();
after(() => certs[Symbol.dispose]());

const PART = 64 * 1024;
const LARGE = Buffer.alloc(480_000, "0123456789abcdef");

async function textOf(attachment: Attachment): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const chunk of attachment) {
    parts.push(chunk.data);
  }
  return Buffer.concat(parts).toString();
}

/** Writes and ends the input. */
async function write(attachment: Attachment, ...data: Buffer[]): Promise<void> {
  for (const each of data) {
    await attachment.write(each);
  }
  await attachment.end();
}

const FAULTS = {
  "without faults": [],
  "before the first answer": [{ part: 0 }, { part: 0 }],
  "before a part is accepted": [
    { part: 1, accepts: 0 },
    { part: 2, accepts: 0 },
  ],
  "in the middle of a part": [
    { part: 1, accepts: 1000 },
    { part: 1, accepts: 1001 },
    { part: 4, accepts: 30_000 },
    { part: 3, accepts: 0 },
  ],
  "before the answer": [{ part: 1 }, { part: 2 }],
  "before the end is accepted": [{ part: 10 }, { part: 1 }],
};

for (const [name, faults] of Object.entries(FAULTS)) {
  test(`input and output are exact over broken calls: ${name}`, async () => {
    const job = new AttachServer(certs, { faults });
    await using server = await job.start();
    using client = server.client();
    const attachment = client.attach("1");
    const [text] = await Promise.all([textOf(attachment), write(attachment, LARGE, Buffer.from("end!"))]);
    assert.equal(job.input.toString(), `${LARGE}end!`);
    assert.equal(text, job.input.toString());
    assert.equal((await attachment.result()).exitCode, 0);
    assert.equal(attachment.offset, text.length);
    assert.equal(job.starts.length, faults.length + 1);
    await job.idle();
    assert.equal(new Set(job.starts.map((start) => start.inputId)).size, 1);
  });
}

test("input and output are exact over broken connections", async () => {
  const job = new AttachServer(certs);
  await using server = await job.start();
  using client = server.client();
  const attachment = client.attach("1");
  const writing = write(attachment, LARGE, LARGE);
  const parts: Uint8Array[] = [];
  for await (const chunk of attachment) {
    parts.push(chunk.data);
    if (job.starts.length < 4) {
      server.disconnect();
    }
  }
  await writing;
  assert.equal(Buffer.concat(parts).toString(), `${LARGE}${LARGE}`);
  assert.equal(job.input.length, 2 * LARGE.length);
  assert.equal(job.starts.length, 4);
  await job.idle();
});

test("input is sent before the output is read", async () => {
  const job = new AttachServer(certs);
  await using server = await job.start();
  using client = server.client();
  const attachment = client.attach("1");
  await write(attachment, Buffer.from("one\n"), Buffer.from("two\n"));
  assert.equal(await textOf(attachment), "one\ntwo\n");
});

test("writes at the same time are sent whole", async () => {
  const job = new AttachServer(certs);
  await using server = await job.start();
  using client = server.client();
  const attachment = client.attach("1");
  const writes = ["a", "b"].map((letter) => attachment.write(Buffer.alloc(PART + 1, letter)));
  await Promise.all([...writes, attachment.end(), textOf(attachment)]);
  assert.equal(job.input.toString(), "a".repeat(PART + 1) + "b".repeat(PART + 1));
});

test("a stream of Node can be the source of the input", async () => {
  const job = new AttachServer(certs);
  await using server = await job.start();
  using client = server.client();
  const attachment = client.attach("1");
  const source = Readable.from([LARGE, Buffer.from("end!")]);
  const [text] = await Promise.all([textOf(attachment), pipeline(source, attachment.writable())]);
  assert.equal(text, `${LARGE}end!`);
  assert.equal((await attachment.result()).exitCode, 0);
});

test("a source that fails leaves the input open", async () => {
  const job = new AttachServer(certs);
  await using server = await job.start();
  using client = server.client();
  await using attachment = client.attach("1");
  const source = Readable.from(
    (async function* () {
      yield Buffer.from("abc");
      throw new Error("broken source");
    })(),
  );
  await assert.rejects(pipeline(source, attachment.writable()), /broken source/);
  await attachment.write(Buffer.from("def"));
  assert.match(job.input.toString(), /^(abc)?def$/);
});

test("the input of a job that has closed its stdin is dropped", async () => {
  const job = new AttachServer(certs, { closedStdin: true, faults: [{ part: 2 }, { part: 2 }] });
  await using server = await job.start();
  using client = server.client();
  const unread = Buffer.from("unread");
  await write(client.attach("1"), unread, unread, unread);
  assert.equal(job.starts.length, 3);
});

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

test("the stdin is taken over until the server answers", async () => {
  const job = new AttachServer(certs, { faults: [{ part: 0 }, { part: 1 }] });
  await using server = await job.start();
  using client = server.client();
  const attachment = client.attach("1", { takeOver: true, redraw: true, tailBytes: 5 });
  await Promise.all([textOf(attachment), write(attachment, Buffer.from("abc"))]);
  assert.deepEqual(
    job.starts.map(({ takeOver, redraw }) => [takeOver, redraw]),
    [
      [true, true],
      [true, true],
      [false, false],
    ],
  );
  assert.equal(job.starts[0]?.tailBytes, 5n);
});

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
