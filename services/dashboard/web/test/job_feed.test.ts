import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type BrowserClient,
  create,
  type Job,
  JobSchema,
  JobStatus,
  JobWorkerError,
  RemovalReason,
  UsageSchema,
  type WatchEvent,
} from "@jobworker/client/browser";
import { JobFeed } from "../src/job/job_feed.js";

type Step = WatchEvent | Error | (() => void);

/** A client whose watch plays the steps, and whose `get` returns `response` when `answer` is called. */
class FakeClient {
  readonly #steps: readonly Step[];
  #answer: ((job: Job) => void) | undefined;

  constructor(...steps: Step[]) {
    this.#steps = steps;
  }

  answer(job: Job): void {
    this.#answer?.(job);
  }

  get isAsked(): boolean {
    return this.#answer !== undefined;
  }

  get(): Promise<Job> {
    return new Promise((resolve) => {
      this.#answer = resolve;
    });
  }

  async *watch() {
    for (const step of this.#steps) {
      if (step instanceof Error) {
        throw step;
      }
      if (typeof step === "function") {
        step();
        await new Promise((resolve) => setImmediate(resolve));
      } else {
        yield step;
      }
    }
  }
}

function job(status: JobStatus, wallUsec?: bigint): Job {
  return create(JobSchema, {
    id: "1",
    status,
    ...(wallUsec === undefined ? {} : { usage: create(UsageSchema, { wallUsec }) }),
  });
}

const running = { type: "changed", job: job(JobStatus.RUNNING) } as const;
const failed = { type: "changed", job: job(JobStatus.FAILED, 9n) } as const;

function removed(reason: RemovalReason): WatchEvent {
  return { type: "removed", id: "1", reason, job: undefined };
}

async function feedOf(fake: FakeClient): Promise<JobFeed> {
  const feed = new JobFeed(fake as unknown as BrowserClient, "1");
  await feed.run(new AbortController().signal, () => false);
  return feed;
}

test("a running job is requested with its usage", async () => {
  const fake: FakeClient = new FakeClient(
    running,
    () => fake.answer(job(JobStatus.RUNNING, 5n)),
    running,
    removed(RemovalReason.DELETED),
  );
  const feed = await feedOf(fake);
  assert.equal(feed.measurements.value, 1);
  assert.equal(feed.job.value?.usage?.wallUsec, 5n);
});

test("a response that is older than the end of the job is ignored", async () => {
  const fake: FakeClient = new FakeClient(
    running,
    failed,
    () => fake.answer(job(JobStatus.RUNNING, 5n)),
    removed(RemovalReason.DELETED),
  );
  const feed = await feedOf(fake);
  assert.equal(feed.job.value?.status, JobStatus.FAILED);
  assert.equal(feed.measurements.value, 0);
});

test("a queued job is requested, because the watch does not report its position", async () => {
  const queued = create(JobSchema, { id: "1", status: JobStatus.QUEUED, queuePosition: 3 });
  const fake: FakeClient = new FakeClient(
    { type: "changed", job: queued },
    () => fake.answer(create(JobSchema, { id: "1", status: JobStatus.QUEUED, queuePosition: 2 })),
    removed(RemovalReason.DELETED),
  );
  const feed = await feedOf(fake);
  assert.equal(feed.job.value?.queuePosition, 2);
});

test("a job that has ended is not requested", async () => {
  const fake = new FakeClient(failed, removed(RemovalReason.DELETED));
  await feedOf(fake);
  assert.equal(fake.isAsked, false);
});

test("a job that was deleted stays visible, and one that does not exist is missing", async () => {
  const deleted = await feedOf(new FakeClient(failed, removed(RemovalReason.DELETED)));
  assert.deepEqual([deleted.state.value.kind, deleted.job.value?.id], ["deleted", "1"]);
  const missing = await feedOf(new FakeClient(removed(RemovalReason.NOT_FOUND)));
  assert.deepEqual([missing.state.value.kind, missing.job.value], ["missing", undefined]);
});

test("an error that a retry does not fix ends the feed", async () => {
  const refused = new JobWorkerError("log in again", "UNAUTHENTICATED");
  const fake = new FakeClient(running, refused) as unknown as BrowserClient;
  const feed = new JobFeed(fake, "1");
  const run = feed.run(new AbortController().signal, () => false);
  await assert.rejects(run, { code: "UNAUTHENTICATED" });
  assert.deepEqual(feed.state.value, { kind: "failed", message: "log in again" });
});
