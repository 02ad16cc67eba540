/** The keyboard shortcuts of the jobs table. */
import type { Job } from "@jobworker/client/browser";
import type { Signal } from "@preact/signals";
import { useKeys } from "../app/keys.js";
import { navigate } from "../app/router.js";
import type { Selection } from "./selection.js";
import { SEARCH_ID } from "./toolbar.js";

/** Moves `current`, the id of a row, through `jobs`, and acts on it. Without a selection, `x` has no effect. */
export function useTableKeys(
  jobs: readonly Job[],
  current: Signal<string>,
  selection: Selection | undefined,
): void {
  const move = (index: number) => {
    const job = jobs[Math.max(0, Math.min(index, jobs.length - 1))];
    if (job) {
      current.value = job.id;
      focusRow(job.id);
    }
  };
  const step = (by: number) => {
    const index = jobs.findIndex((job) => job.id === current.peek());
    move(index < 0 ? 0 : index + by);
  };
  const open = () => {
    if (current.peek()) {
      navigate(`/jobs/${current.peek()}`);
    }
  };
  useKeys("Jobs", [
    { keys: ["j", "ArrowDown"], help: "Next job", run: () => step(1) },
    { keys: ["k", "ArrowUp"], help: "Previous job", run: () => step(-1) },
    { keys: "g", help: "First job", run: () => move(0) },
    { keys: "G", help: "Last job", run: () => move(jobs.length - 1) },
    { keys: ["Enter", "o"], help: "Open the job", run: open },
    { keys: "/", help: "Filter jobs", run: () => document.getElementById(SEARCH_ID)?.focus() },
    ...(selection
      ? [
          { keys: "x", help: "Select the job", run: () => toggle(selection, current.peek()) },
          { keys: "Escape", help: "Clear the selection", run: () => selection.clear() },
        ]
      : []),
  ]);
}

function toggle(selection: Selection, id: string): void {
  if (id) {
    selection.toggle(id);
  }
}

// The row exists only after the table has scrolled to it and rendered again.
function focusRow(id: string, frames = 5): void {
  requestAnimationFrame(() => {
    const link = document.querySelector<HTMLElement>(`[data-id="${id}"] .row-link`);
    if (link) {
      link.focus({ preventScroll: true });
    } else if (frames > 0) {
      focusRow(id, frames - 1);
    }
  });
}
