/** Commands in the form that a shell reads. */
import { printable } from "./printable.js";

// Characters that no shell gives a meaning.
const PLAIN = /^[\w@%+=:,./-]+$/;

/** Returns the program and its arguments, quoted for a POSIX shell. */
export function commandLine(command: string, args: readonly string[]): string {
  return [command, ...args].map(quote).join(" ");
}

/** Returns the command in one line that cannot deceive the reader. It is not for a shell. */
export function shownCommand(command: string, args: readonly string[]): string {
  return printable(commandLine(command, args));
}

// Double quotes are easier to read around single ones, but leave these characters to the shell.
const SPECIAL_IN_DOUBLE_QUOTES = /["$`\\!]/;

function quote(word: string): string {
  if (PLAIN.test(word)) {
    return word;
  }
  return word.includes("'") && !SPECIAL_IN_DOUBLE_QUOTES.test(word)
    ? `"${word}"`
    : `'${word.replaceAll("'", "'\\''")}'`;
}
