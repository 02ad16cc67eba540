/** Returns the target of a link that output contains, or undefined if it is not a web address. */
export function safeLink(target: string): string | undefined {
  try {
    const url = new URL(target);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : undefined;
  } catch {
    return undefined;
  }
}
