import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { after, test } from "node:test";
import { AttachServer, PART, write } from "./attach_server.js";
import { textOf } from "./scripts.js";
import { Certificates } from "./server.js";

const certs = new Certificates();
after(() => certs[Symbol.dispose]());

const LARGE = Buffer.alloc(480_000, "0123456789abcdef");

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
