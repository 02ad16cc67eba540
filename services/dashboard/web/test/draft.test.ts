import assert from "node:assert/strict";
import { test } from "node:test";
import {
  create,
  durationFromMs,
  JobNetwork,
  JobSchema,
  JobStdin,
  LimitsPolicy,
} from "@jobworker/client/browser";
import { EMPTY_DRAFT, fromJob, placeViolations, toRequest } from "../src/create/draft.js";
import { formatExactDuration, formatExactSize } from "../src/create/exact.js";

test("an empty form asks for a command only", () => {
  assert.deepEqual(Object.keys(toRequest(EMPTY_DRAFT).errors), ["command"]);
});

test("the request has the values in the units of the API", () => {
  const { request, errors } = toRequest({
    ...EMPTY_DRAFT,
    command: "sh -c 'echo $A'",
    env: "A=1=2\n\nB=",
    labels: "team=infra",
    maxCpu: "1.5c",
    maxMemory: "1 GiB",
    maxIoBps: "20 MiB",
    timeout: "2m",
    queue: false,
    input: "terminal",
    priority: "-5",
  });
  assert.deepEqual(errors, {});
  assert.equal(request.command, "sh");
  assert.deepEqual(request.args, ["-c", "echo $A"]);
  assert.deepEqual(request.env, { A: "1=2", B: "" });
  assert.deepEqual(request.labels, { team: "infra" });
  assert.equal(request.maxCpu, 150);
  assert.equal(request.maxMemory, 1024);
  assert.equal(request.maxIoBps, 20n * 2n ** 20n);
  assert.deepEqual(request.timeout, durationFromMs(120_000));
  assert.equal(request.queueTimeout, undefined);
  assert.deepEqual(request.terminal, {});
  assert.equal(request.priority, -5);
});

test("a job waits in the queue unless the user says otherwise", () => {
  const { request } = toRequest({ ...EMPTY_DRAFT, command: "true" });
  assert.deepEqual(request.queueTimeout, durationFromMs(3_600_000));
});

test("each text that cannot be read is an error of its field", () => {
  const { errors } = toRequest({
    ...EMPTY_DRAFT,
    command: "'a",
    maxMemory: "much",
    timeout: "soon",
    env: "A",
  });
  assert.deepEqual(Object.keys(errors).sort(), ["command", "env", "maxMemory", "timeout"]);
  assert.match(errors.env ?? "", /"A" is not of the form NAME=VALUE/);
});

test("a clone has all values of the job except the environment", () => {
  const job = create(JobSchema, {
    command: "sh",
    args: ["-c", "echo 'a b'"],
    labels: { team: "infra", ticket: "a=b" },
    maxCpu: 250,
    maxMemory: 300,
    maxScratch: 64,
    maxPids: 50,
    maxIoBps: 1000n,
    maxIoIops: 7n,
    cpuWeight: 200,
    cpuSet: "0-1",
    limitsPolicy: LimitsPolicy.STRICT,
    network: JobNetwork.NONE,
    stdin: JobStdin.ONCE,
    timeout: durationFromMs(90_500),
    stopSignal: "SIGINT",
    stopGracePeriod: durationFromMs(0),
    queueTimeout: durationFromMs(60_000),
    priority: 3,
    workingDirectory: "/srv",
  });
  const { request, errors } = toRequest(fromJob(job));
  assert.deepEqual(errors, {});
  for (const [name, value] of Object.entries(request)) {
    if (name !== "env") {
      assert.deepEqual(value, job[name as keyof typeof job], name);
    }
  }
});

test("violations are placed at the fields of the form", () => {
  const { errors, others } = placeViolations([
    { field: "max_memory", description: "too large" },
    { field: "args[3]", description: "has NUL." },
    { field: "command", description: "is empty." },
    { field: "terminal.columns", description: "negative" },
    { field: "request_id", description: "too long" },
  ]);
  assert.deepEqual(errors, { maxMemory: "too large", command: "has NUL. is empty.", input: "negative" });
  assert.deepEqual(others, ["request_id: too long"]);
});

test("exact quantities lose nothing", () => {
  assert.equal(formatExactSize(10n * 2n ** 20n), "10 MiB");
  assert.equal(formatExactSize(1025n), "1025 B");
  assert.equal(formatExactDuration(5_400_250), "1h 30m 250ms");
  assert.equal(formatExactDuration(0), "0s");
});

test("the place in a cluster is sent, and copied from a job", () => {
  const placed = { queueName: " batch ", nodeSelector: "zone=a", retryOnLost: true };
  const { request, errors } = toRequest({ ...EMPTY_DRAFT, command: "true", ...placed });
  assert.deepEqual(errors, {});
  assert.deepEqual(
    [request.queue, request.nodeSelector, request.retryOnLost],
    ["batch", { zone: "a" }, true],
  );
  const copy = fromJob(
    create(JobSchema, { command: "true", queue: "batch", nodeSelector: { zone: "a" }, retryOnLost: true }),
  );
  assert.deepEqual([copy.queueName, copy.nodeSelector, copy.retryOnLost], ["batch", "zone=a", true]);
  const wrong = toRequest({ ...EMPTY_DRAFT, command: "true", nodeSelector: "zone" });
  assert.deepEqual(Object.keys(wrong.errors), ["nodeSelector"]);
  const refused = placeViolations([{ field: "queue", description: "unknown" }]);
  assert.deepEqual(refused, { errors: { queueName: "unknown" }, others: [] });
});
