import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import {
  type BrowserClient,
  create,
  type Job,
  JobSchema,
  JobWorkerError,
  type WatchEvent,
  type WatchFilter,
} from "@jobworker/client/browser";
import { JobList } from "../src/jobs/job_list.js";

/** A watch that the test feeds. */
class FakeWatch {
  readonly jobs = new Map<string, Job>();
  readonly filter: WatchFilter;
  readonly signal: AbortSignal;
  readonly #events: WatchEvent[] = [];
  #error: unknown;
  #wake = () => {};

  constructor(filter: WatchFilter, signal: AbortSignal) {
    this.filter = filter;
    this.signal = signal;
    signal.addEventListener("abort", () => this.fail(signal.reason));
  }

  change(...ids: string[]): void {
    for (const id of ids) {
      const job = create(JobSchema, { id });
      this.jobs.set(id, job);
      this.#events.push({ type: "changed", job });
    }
    this.#wake();
  }

  sync(): void {
    this.#events.push({ type: "synced" });
    this.#wake();
  }

  fail(error: unknown): void {
    this.#error = error;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<WatchEvent> {
    for (;;) {
      const event = this.#events.shift();
      if (event) {
        yield event;
      } else if (this.#error) {
        throw this.#error;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}

const watches: FakeWatch[] = [];
let frames: (() => void)[] = [];

function newList(): JobList {
  const watch = (filter: WatchFilter, { signal }: { signal: AbortSignal }) => {
    const fake = new FakeWatch(filter, signal);
    watches.push(fake);
    return fake;
  };
  return new JobList({ watch } as unknown as BrowserClient);
}

function lastWatch(): FakeWatch {
  const last = watches.at(-1);
  assert.ok(last);
  return last;
}

/** Lets the list read all events. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) {
    await new Promise(setImmediate);
  }
}

async function drawFrame(): Promise<void> {
  await settle();
  const due = frames;
  frames = [];
  for (const draw of due) {
    draw();
  }
}

function shown(list: JobList): string {
  return [...list.state.value.jobs.keys()].join(" ");
}

beforeEach(() => {
  watches.length = 0;
  frames = [];
  globalThis.requestAnimationFrame = (draw) => frames.push(() => draw(0));
  globalThis.cancelAnimationFrame = () => {
    frames = [];
  };
});

test("a snapshot is shown when it is complete", async () => {
  const list = newList();
  list.start({});
  lastWatch().change("b", "a");
  await drawFrame();
  assert.equal(shown(list), "");
  lastWatch().sync();
  await settle();
  assert.equal(shown(list), "b a");
  assert.equal(list.synced.value, true);
  list.stop();
});

test("a large snapshot is shown before it is complete", async () => {
  const list = newList();
  list.start({});
  lastWatch().change(...Array.from({ length: 60 }, (_, index) => `job-${index}`));
  await drawFrame();
  assert.equal(list.state.value.jobs.size, 60);
  assert.equal(list.synced.value, false);
  list.stop();
});

test("many events at once are read in parts, between which the page can draw", async () => {
  let now = 0;
  const clock = mock.method(performance, "now", () => ++now);
  const list = newList();
  list.start({});
  lastWatch().change(...Array.from({ length: 1000 }, (_, index) => `job-${index}`));
  lastWatch().sync();
  await new Promise(setImmediate);
  assert.equal(list.synced.value, false);
  while (!list.synced.value) {
    await settle();
  }
  assert.equal(list.state.value.jobs.size, 1000);
  list.stop();
  clock.mock.restore();
});

test("the changes between two frames are shown together", async () => {
  const list = newList();
  list.start({});
  lastWatch().sync();
  await settle();
  let renderings = 0;
  const end = list.state.subscribe(() => {
    renderings += 1;
  });
  lastWatch().change("a");
  await settle();
  lastWatch().change("b");
  await drawFrame();
  assert.equal(renderings, 2, "the first call of subscribe, and one frame");
  end();
  list.stop();
});

test("the jobs of the previous filter stay until those of the new one are known", async () => {
  const list = newList();
  list.start({ owner: "first" });
  lastWatch().change("a");
  lastWatch().sync();
  await settle();
  const first = lastWatch();
  list.start({ owner: "second" });
  assert.equal(first.signal.aborted, true);
  assert.equal(lastWatch().filter.owner, "second");
  assert.equal(list.synced.value, false);
  await drawFrame();
  assert.equal(shown(list), "a");
  lastWatch().sync();
  await settle();
  assert.equal(shown(list), "");
  list.stop();
});

test("events of the previous filter that are read late are ignored", async () => {
  const list = newList();
  list.start({ owner: "first" });
  lastWatch().change("a");
  lastWatch().sync();
  list.start({ owner: "second" });
  await drawFrame();
  assert.equal(shown(list), "");
  assert.equal(list.synced.value, false);
  list.stop();
});

test("a watch that found no server for too long starts again and keeps the jobs", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const list = newList();
  list.start({ owner: "me" });
  lastWatch().change("a");
  lastWatch().sync();
  await settle();
  lastWatch().fail(new JobWorkerError("no server", "UNAVAILABLE", { retryable: true }));
  await settle();
  assert.equal(watches.length, 1);
  mock.timers.tick(1000);
  await settle();
  mock.timers.reset();
  assert.equal(watches.length, 2);
  assert.equal(lastWatch().filter.owner, "me");
  assert.equal(list.failure.value, undefined);
  assert.equal(shown(list), "a");
  list.stop();
});

test("an error that a retry does not fix is the failure of the list", async () => {
  const list = newList();
  list.start({});
  const error = new JobWorkerError("wrong filter", "INVALID_ARGUMENT");
  lastWatch().fail(error);
  await settle();
  assert.equal(list.failure.value, error);
  assert.equal(watches.length, 1);
  list.start({});
  assert.equal(list.failure.value, undefined);
  list.stop();
});

test("the end of the list is not a failure", async () => {
  const list = newList();
  list.start({});
  list.stop();
  await settle();
  assert.equal(lastWatch().signal.aborted, true);
  assert.equal(list.failure.value, undefined);
  assert.equal(watches.length, 1);
});
