/** Command lines as people type them in a shell. */

/** The words of a line, or the reason why it cannot be split. */
export interface SplitLine {
  readonly words: readonly string[];
  /** Empty if the line is complete. */
  readonly error: string;
}

/**
 * Splits a line into words as a POSIX shell does: with quotes and backslashes, but without variables, patterns,
 * redirections or pipes. Those characters are part of the words.
 */
export function splitWords(line: string): SplitLine {
  const words: string[] = [];
  let word: string | undefined;
  let quote = "";
  for (let index = 0; index < line.length; index += 1) {
    const char = line.charAt(index);
    if (char === "\\" && quote !== "'") {
      index += 1;
      if (index === line.length) {
        return { words, error: "The line ends after a backslash." };
      }
      word = (word ?? "") + escapedChar(line.charAt(index), quote);
    } else if (quote) {
      if (char === quote) {
        quote = "";
      } else {
        word += char;
      }
    } else if (char === "'" || char === '"') {
      quote = char;
      word ??= "";
    } else if (/\s/.test(char)) {
      if (word !== undefined) {
        words.push(word);
      }
      word = undefined;
    } else {
      word = (word ?? "") + char;
    }
  }
  if (word !== undefined) {
    words.push(word);
  }
  return { words, error: quote ? `The quotation mark ${quote} is not closed.` : "" };
}

// Inside double quotes, a backslash escapes only these characters (POSIX, Shell Command Language, 2.2.3).
const ESCAPED_IN_QUOTES = new Set(["$", "`", '"', "\\"]);

function escapedChar(char: string, quote: string): string {
  if (char === "\n") {
    return "";
  }
  return quote && !ESCAPED_IN_QUOTES.has(char) ? `\\${char}` : char;
}
