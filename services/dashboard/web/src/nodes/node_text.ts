/** The state of a node in words. */
import type { Node, NodeResources } from "@jobworker/client/browser";
import { formatBytes } from "../ui/format.js";

/** The state of a node, and the colour class of its badge. */
export interface NodeState {
  readonly text: string;
  readonly kind: "ok" | "bad" | "warn";
}

/** Returns whether a node runs jobs and gets new ones. */
export function nodeState({ ready, schedulable }: Node): NodeState {
  if (!ready) {
    return { text: "Not ready", kind: "bad" };
  }
  return schedulable ? { text: "Ready", kind: "ok" } : { text: "Cordoned", kind: "warn" };
}

/** Returns why a node is not ready, or "". */
export function nodeProblem({ ready, conditions }: Node): string {
  const condition = conditions.find(({ type }) => type === "Ready");
  return ready ? "" : condition?.message || condition?.reason || "The cluster gives no reason.";
}

/** The resources of a node in words: a name, what jobs have, and what the node has. */
export interface NodeShare {
  readonly name: string;
  readonly text: string;
  /** The part that jobs have, from 0 to 1. */
  readonly share: number;
}

/** Returns what the jobs of a node have of its resources. */
export function nodeShares({ allocated, capacity }: Node): NodeShare[] {
  return SHARES.map(({ name, amount, format }) => {
    const used = amount(allocated);
    const room = amount(capacity);
    return {
      name,
      text: `${format(used)} of ${format(room)}`,
      share: room > 0 ? Math.min(1, used / room) : 0,
    };
  });
}

const SHARES = [
  {
    name: "CPU",
    amount: (of: NodeResources | undefined) => of?.cpu ?? 0,
    format: (value: number) => `${value}%`,
  },
  {
    name: "Memory",
    amount: (of: NodeResources | undefined) => Number(of?.memory ?? 0n) * 2 ** 20,
    format: formatBytes,
  },
  { name: "Jobs", amount: (of: NodeResources | undefined) => of?.jobs ?? 0, format: String },
] as const;

/** Returns labels as `KEY=VALUE`, sorted. */
export function labelTexts(labels: Node["labels"]): string[] {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .sort();
}
