import assert from "node:assert/strict";
import { test } from "node:test";
import type { SearchAnswer, SearchCall, SearchState } from "../src/log/messages.js";
import { SearchFeed } from "../src/log/search_feed.js";

type Handler = (call: SearchCall & { id: number }) => unknown;

/** A worker that answers in the next task, or never if the answer is undefined. */
class FakeWorker {
  onmessage: ((event: { data: SearchAnswer }) => void) | undefined;
  isTerminated = false;
  readonly #handler: Handler;

  constructor(handler: Handler) {
    this.#handler = handler;
  }

  postMessage(call: SearchCall & { id: number }): void {
    setImmediate(() => {
      const answer = this.#handler(call);
      if (answer !== undefined && !this.isTerminated) {
        this.onmessage?.({ data: { id: call.id, ...(answer as object) } });
      }
    });
  }

  terminate(): void {
    this.isTerminated = true;
  }
}

const query = { text: "x", isRegex: true, matchCase: false };
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Waits for a condition for a bounded number of turns, so that a failure does not keep the process alive. */
async function until(condition: () => boolean): Promise<void> {
  for (let turns = 0; !condition(); turns += 1) {
    assert.ok(turns < 10_000, "the condition did not become true");
    await turn();
  }
}

test("all rows are searched in batches, and rows that come later", async () => {
  const batches: number[] = [];
  const states: SearchState[] = [];
  let rows = 10_000;
  const worker = new FakeWorker((call) => {
    if (call.kind === "rows") {
      batches.push(call.first);
    }
    return { value: batches.length };
  });
  const source = { count: () => rows, isLastOpen: () => false, texts: async (first: number) => `${first}` };
  const feed = new SearchFeed(query, source, worker as unknown as Worker, (state) => states.push(state));
  await until(() => states.at(-1)?.phase === "complete");
  assert.deepEqual(batches, [0, 4096, 8192]);
  rows = 10_001;
  feed.continue();
  await until(() => states.at(-1)?.searchedRows === 10_001);
  assert.deepEqual(batches, [0, 4096, 8192, 10_000]);
  assert.equal(states.at(-1)?.matches, 4);
  feed.close();
});

test("a row that can get longer is searched again", async () => {
  const searched: string[] = [];
  const states: SearchState[] = [];
  const worker = new FakeWorker((call) => {
    if (call.kind === "rows") {
      searched.push(`${call.first}: ${call.text}`);
    }
    return { value: 0 };
  });
  let text = "Pass";
  const source = { count: () => 3, isLastOpen: () => text !== "Password\n", texts: async () => text };
  const feed = new SearchFeed(query, source, worker as unknown as Worker, (state) => states.push(state));
  await until(() => states.length > 0);
  assert.deepEqual([states[0]?.phase, states[0]?.searchedRows], ["complete", 2]);
  text = "Password\n";
  feed.continue();
  await until(() => states.at(-1)?.searchedRows === 3);
  assert.deepEqual(searched, ["0: Pass", "2: Password\n"]);
  feed.close();
});

test("an invalid expression ends the search with its message", async () => {
  const states: SearchState[] = [];
  const worker = new FakeWorker(() => ({ error: "Invalid regular expression" }));
  const source = { count: () => 1, isLastOpen: () => false, texts: async () => "" };
  new SearchFeed(query, source, worker as unknown as Worker, (state) => states.push(state));
  await until(() => states.length > 0);
  assert.deepEqual([states[0]?.phase, states[0]?.message], ["failed", "Invalid regular expression"]);
  assert.ok(worker.isTerminated);
});

test("a search that does not answer is ended", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const states: SearchState[] = [];
  const worker = new FakeWorker((call) => (call.kind === "start" ? { value: 0 } : undefined));
  let isAsked = false;
  const source = {
    count: () => 1,
    isLastOpen: () => false,
    texts: async () => {
      isAsked = true;
      return "xxxx";
    },
  };
  new SearchFeed(query, source, worker as unknown as Worker, (state) => states.push(state));
  await until(() => isAsked);
  await turn();
  context.mock.timers.tick(5000);
  await until(() => states.length > 0);
  assert.equal(states.at(-1)?.phase, "failed");
  assert.match(states.at(-1)?.message ?? "", /took more than 5 s/);
  assert.ok(worker.isTerminated);
});

test("calls of a closed search fail", async () => {
  const worker = new FakeWorker(() => undefined);
  const source = { count: () => 0, isLastOpen: () => false, texts: async () => "" };
  const feed = new SearchFeed(query, source, worker as unknown as Worker, () => {});
  const pending = feed.match(0);
  feed.close();
  await assert.rejects(pending, /closed/);
  await assert.rejects(feed.ranges([]), /closed/);
});
