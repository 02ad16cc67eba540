/** Text from other users, such as commands, in a form that cannot deceive the reader. */

// Control characters, and characters that reorder or hide text. The zero-width joiner makes one emoji of several.
const DECEPTIVE = /(?!\u200d)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

const SHORT: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** Returns the text with escapes such as `\x1b` and `\u202e` for characters that are not visible. */
export function printable(text: string): string {
  return text.replaceAll(DECEPTIVE, (character) => SHORT[character] ?? codeEscape(character));
}

/** Returns the text as `printable` does, but with its lines and tabs. */
export function printableLines(text: string): string {
  return text.replaceAll(DECEPTIVE, (character) =>
    character === "\n" || character === "\t" ? character : printable(character),
  );
}

function codeEscape(character: string): string {
  const code = character.codePointAt(0) as number;
  const digits = code.toString(16);
  if (code < 0x100) {
    return `\\x${digits.padStart(2, "0")}`;
  }
  return code < 0x10000 ? `\\u${digits.padStart(4, "0")}` : `\\U${digits.padStart(8, "0")}`;
}
