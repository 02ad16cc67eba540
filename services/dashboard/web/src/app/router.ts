/** The address as state: what the page shows depends on its path and query only. */
import { computed, signal } from "@preact/signals";
import { changeQuery, type QueryChanges } from "./query.js";

const address = signal(new URL(location.href));

addEventListener("popstate", () => {
  address.value = new URL(location.href);
});

/** The path, such as `/jobs/ID`. */
export const path = computed(() => address.value.pathname);

/** The query. Do not change it in place: see `setQuery`. */
export const query = computed(() => address.value.searchParams);

/** How an address replaces the current one. */
export interface NavigateOptions {
  /** True = the browser's back button skips the current address. For changes while the user types. */
  readonly replace?: boolean;
}

/** Shows another address of the dashboard. */
export function navigate(to: string, { replace = false }: NavigateOptions = {}): void {
  const next = new URL(to, location.origin);
  if (next.href === location.href) {
    return;
  }
  history[replace ? "replaceState" : "pushState"](null, "", next);
  address.value = next;
}

/** Changes the query and keeps the path. */
export function setQuery(changes: QueryChanges, options: NavigateOptions = {}): void {
  const search = changeQuery(query.peek(), changes).toString();
  navigate(search ? `${path.peek()}?${search}` : path.peek(), options);
}
