/** Commands in the form that a shell reads. */
import { printable } from "./printable.js";

// Characters that no shell gives a meaning, as in Python's `shlex.quote`.
const PLAIN = /^[\w@%+=:,./-]+$/;

/** Returns the program and its arguments, quoted for a POSIX shell. */
export function commandLine(command: string, args: readonly string[]): string {
  return [command, ...args].map(quote).join(" ");
}

/** Returns the command in one line that cannot deceive the reader. It is not for a shell. */
export function shownCommand(command: string, args: readonly string[]): string {
  return printable(commandLine(command, args));
}

function quote(word: string): string {
  return PLAIN.test(word) ? word : `'${word.replaceAll("'", "'\"'\"'")}'`;
}
