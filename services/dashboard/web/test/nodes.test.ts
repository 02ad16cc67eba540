import assert from "node:assert/strict";
import { test } from "node:test";
import { JobWorkerError, type Node } from "@jobworker/client/browser";
import { NodeList } from "../src/nodes/node_list.js";
import { labelTexts, nodeProblem, nodeShares, nodeState } from "../src/nodes/node_text.js";

type Ready = Pick<Node, "ready" | "schedulable" | "conditions">;

function node(fields: Partial<Ready> & { message?: string; reason?: string } = {}): Node {
  const { ready = true, schedulable = true, message = "", reason = "" } = fields;
  return {
    ready,
    schedulable,
    conditions: [
      { type: "MemoryPressure", status: "False", reason: "other", message: "other" },
      { type: "Ready", status: String(ready), reason, message },
    ],
    capacity: { cpu: 400, memory: 8_192n, jobs: 0 },
    allocated: { cpu: 100, memory: 16_384n, jobs: 1 },
    labels: { zone: "a", gpu: "" },
  } as unknown as Node;
}

test("a node is ready, cordoned, or has a problem", () => {
  assert.equal(nodeState(node()).text, "Ready");
  assert.equal(nodeState(node({ schedulable: false })).text, "Cordoned");
  assert.equal(nodeState(node({ ready: false, schedulable: false })).text, "Not ready");
  assert.equal(nodeProblem(node({ message: "fine" })), "");
  assert.equal(nodeProblem(node({ ready: false, message: "away", reason: "Gone" })), "away");
  assert.equal(nodeProblem(node({ ready: false, reason: "Gone" })), "Gone");
});

test("a node has the shares of its resources that jobs have", () => {
  assert.deepEqual(nodeShares(node()), [
    { name: "CPU", text: "100% of 400%", share: 0.25 },
    { name: "Memory", text: "16.0 GiB of 8.0 GiB", share: 1 },
    { name: "Jobs", text: "1 of 0", share: 0 },
  ]);
  assert.deepEqual(labelTexts(node().labels), ["gpu=", "zone=a"]);
});

test("the nodes stay while the cluster is away, and a refusal ends the list", async () => {
  const aborted = new AbortController();
  const outcomes = [
    [node()],
    new JobWorkerError("etcd is away", "UNAVAILABLE", { retryable: true }),
    new JobWorkerError("no role", "PERMISSION_DENIED"),
  ];
  const seen: [number, string][] = [];
  const list = new NodeList(
    {
      async *listNodes() {
        const next = outcomes.shift();
        if (next instanceof Error) {
          throw next;
        }
        yield* next ?? [];
      },
    },
    1,
  );
  list.failure.subscribe((failure) => seen.push([list.nodes.peek()?.length ?? -1, failure]));
  await assert.rejects(
    list.run(aborted.signal, () => true),
    /no role/,
  );
  assert.deepEqual(seen, [
    [-1, ""],
    [1, "etcd is away"],
    [1, "no role"],
  ]);
});
