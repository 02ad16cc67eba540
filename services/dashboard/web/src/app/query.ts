/** Changes of the query of an address. */

/** The values to change in the query. `undefined` and "" remove a name; a list sets the name several times. */
export type QueryChanges = Readonly<Record<string, string | readonly string[] | undefined>>;

/** Returns `current` with the changes. */
export function changeQuery(current: URLSearchParams, changes: QueryChanges): URLSearchParams {
  const next = new URLSearchParams(current);
  for (const [name, value] of Object.entries(changes)) {
    next.delete(name);
    for (const each of typeof value === "string" ? [value] : (value ?? [])) {
      if (each !== "") {
        next.append(name, each);
      }
    }
  }
  return next;
}
