/** The jobs that the user has selected for an action. */
import { signal } from "@preact/signals";

/** A set of job ids. */
export class Selection {
  readonly ids = signal<ReadonlySet<string>>(new Set());

  /** Selects jobs, or removes them from the selection. */
  set(ids: Iterable<string>, selected: boolean): void {
    const next = new Set(this.ids.peek());
    for (const id of ids) {
      if (selected) {
        next.add(id);
      } else {
        next.delete(id);
      }
    }
    this.ids.value = next;
  }

  /** Selects a job if it is not selected, and the other way round. */
  toggle(id: string): void {
    this.set([id], !this.ids.peek().has(id));
  }

  /** Selects no job. */
  clear(): void {
    this.ids.value = new Set();
  }
}
