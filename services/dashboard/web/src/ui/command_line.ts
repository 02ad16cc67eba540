/** Commands in the form that a shell reads. */

// Characters that no shell gives a meaning, as in Python's `shlex.quote`.
const PLAIN = /^[\w@%+=:,./-]+$/;

/** Returns the program and its arguments, quoted for a POSIX shell. */
export function commandLine(command: string, args: readonly string[]): string {
  return [command, ...args].map(quote).join(" ");
}

function quote(word: string): string {
  return PLAIN.test(word) ? word : `'${word.replaceAll("'", "'\"'\"'")}'`;
}
