/** Subjects of certificates. */

/** Returns the common name in a subject (RFC 4514), such as `alice` of `CN=alice,OU=Admin`, or else the whole subject. */
export function commonName(subject: string): string {
  const match = /(?:^|[,+])CN=((?:\\.|[^\\,+])*)/i.exec(subject);
  return match?.[1]?.replace(/\\(.)/g, "$1") || subject;
}
