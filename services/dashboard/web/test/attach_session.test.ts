import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type BrowserClient,
  type Chunk,
  create,
  JobSchema,
  JobWorkerError,
  type TerminalSize,
} from "@jobworker/client/browser";
import { AttachSession, type Output } from "../src/attach/attach_session.js";

const MIB = 1024 * 1024;

function chunk(offset: number, text: string): Chunk {
  return { data: new TextEncoder().encode(text), offset, source: "stdout", time: new Date(0) };
}

type Step = Chunk | Error | TerminalSize | (() => void);

/** Plays the steps of one attachment per call, and records the calls. */
class FakeClient {
  readonly calls: unknown[] = [];
  readonly writes: string[] = [];
  /** Whether the server accepts no input. */
  isAway = false;
  onGet = (): void => undefined;
  readonly #logSize: number;
  readonly #scripts: Step[][];

  constructor(logSize: number, ...scripts: Step[][]) {
    this.#logSize = logSize;
    this.#scripts = scripts;
  }

  async get() {
    this.onGet();
    return create(JobSchema, { logSize: BigInt(this.#logSize) });
  }

  attach(_id: string, options: { offset: number }) {
    this.calls.push(options);
    const steps = this.#scripts[this.calls.length - 1] ?? [];
    return {
      offset: options.offset,
      terminalSize: undefined as TerminalSize | undefined,
      async *[Symbol.asyncIterator]() {
        for (const step of steps) {
          if (step instanceof Error) {
            throw step;
          }
          if (typeof step === "function") {
            step();
            await new Promise((resolve) => setImmediate(resolve));
          } else if ("data" in step) {
            this.offset = step.offset + step.data.length;
            yield step;
          } else {
            this.terminalSize = step;
          }
        }
      },
      write: async (data: Uint8Array) => {
        this.writes.push(new TextDecoder().decode(data));
        await new Promise((resolve) => this.isAway || setImmediate(resolve));
      },
      end: async () => {
        this.writes.push("(end)");
      },
      detach: async () => {
        this.writes.push("(detach)");
      },
      result: async () => create(JobSchema, { exitCode: 3 }),
    };
  }
}

/** Records the calls. */
class Recorder implements Output {
  readonly events: string[] = [];

  async write({ data }: Chunk) {
    this.events.push(new TextDecoder().decode(data));
  }

  goLive() {
    this.events.push("live");
  }

  resized({ columns, rows }: TerminalSize) {
    this.events.push(`${columns}x${rows}`);
  }
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function sessionOf(fake: FakeClient) {
  const output = new Recorder();
  return { output, session: new AttachSession(fake as unknown as BrowserClient, "1", output) };
}

test("a session goes live after the earlier output", async () => {
  const { session, output } = sessionOf(
    new FakeClient(6, [chunk(0, "one"), chunk(3, "two"), chunk(6, "new")]),
  );
  await session.attach();
  assert.deepEqual(output.events, ["one", "two", "live", "new"]);
  assert.equal(session.state.value.kind, "ended");
});

test("a session without earlier output is live at once", async () => {
  const { session, output } = sessionOf(new FakeClient(0, [chunk(0, "new")]));
  await session.attach();
  assert.deepEqual(output.events, ["live", "new"]);
});

test("the earlier output is bounded, and a second attachment continues the output", async () => {
  const lost = new JobWorkerError("lost", "UNAVAILABLE");
  const fake = new FakeClient(3 * MIB, [chunk(2 * MIB, "one"), lost], [chunk(2 * MIB + 3, "two")]);
  const { session, output } = sessionOf(fake);
  await session.attach();
  assert.deepEqual(session.state.value, { kind: "failed", message: "lost" });
  await session.attach({ takeOver: true });
  assert.deepEqual(fake.calls, [{ offset: 2 * MIB }, { offset: 2 * MIB + 3, takeOver: true }]);
  assert.deepEqual(output.events, ["one", "two"]);
});

test("a change of the terminal's size is shown before the output that follows", async () => {
  const { session, output } = sessionOf(
    new FakeClient(0, [{ columns: 80, rows: 24 }, chunk(0, "a"), { columns: 90, rows: 24 }, chunk(1, "b")]),
  );
  await session.attach();
  assert.deepEqual(output.events, ["live", "80x24", "a", "90x24", "b"]);
});

test("another client at the stdin can be told from other failures", async () => {
  const inUse = new JobWorkerError("alice feeds it", "FAILED_PRECONDITION", { reason: "STDIN_IN_USE" });
  const { session } = sessionOf(new FakeClient(0, [inUse]));
  await session.attach();
  assert.deepEqual(session.state.value, { kind: "in-use", message: "alice feeds it" });
});

test("a detached session can attach again", async () => {
  const detached = new JobWorkerError("the client has detached", "CANCELLED");
  const { session } = sessionOf(new FakeClient(0, [detached]));
  await session.attach();
  assert.deepEqual(session.state.value, { kind: "detached" });
});

test("input that arrives during a write is sent as one piece, and the end after it", async () => {
  const type = (): void => {
    for (const key of ["a", "b", "c"]) {
      session.send(bytes(key));
    }
    session.endInput();
  };
  const idle = (): void => undefined;
  const fake = new FakeClient(0, [type, idle, idle]);
  const { session } = sessionOf(fake);
  session.send(bytes("before"));
  await session.attach();
  assert.deepEqual(fake.writes, ["a", "bc", "(end)"]);
});

test("input before a detach reaches the job", async () => {
  let leaving: Promise<void> | undefined;
  const leave = (): void => {
    for (const key of ["a", "b", "c"]) {
      session.send(bytes(key));
    }
    leaving = session.detach();
  };
  const fake = new FakeClient(0, [leave]);
  const { session } = sessionOf(fake);
  await session.attach();
  await leaving;
  assert.deepEqual(fake.writes, ["a", "bc", "(detach)"]);
});

test("a detach does not wait for a server that is away", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let leaving: Promise<void> | undefined;
  const leave = (): void => {
    session.send(bytes("a"));
    leaving = session.detach();
  };
  const fake = new FakeClient(0, [leave]);
  fake.isAway = true;
  const { session } = sessionOf(fake);
  await session.attach();
  t.mock.timers.tick(1_000);
  await leaving;
  assert.deepEqual(fake.writes, ["a", "(detach)"]);
});

test("a user who leaves before the attachment does not attach", async () => {
  const fake = new FakeClient(0, [chunk(0, "new")]);
  const { session } = sessionOf(fake);
  fake.onGet = () => void session.detach();
  await session.attach();
  assert.deepEqual(fake.calls, []);
  assert.deepEqual(session.state.value, { kind: "detached" });
});

test("an attachment has the newest size of the terminal", async () => {
  const fake = new FakeClient(0, []);
  const { session } = sessionOf(fake);
  fake.onGet = () => session.resize({ columns: 100, rows: 30 });
  await session.attach();
  assert.deepEqual(fake.calls, [{ offset: 0, size: { columns: 100, rows: 30 } }]);
});
