/** Makes characters visible that would hide, reorder or imitate other text. */

// Directional overrides, isolates and marks; characters without width; line separators; tags.
const DECEPTIVE =
  /[\u0080-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/u;

/** Text with one of these characters needs more than decoding: see `RowText`. */
export const NOT_PLAIN =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it finds control characters.
  /[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffd\u{e0000}-\u{e007f}]/u;

// The joiner makes one emoji of several.
const ZERO_WIDTH_JOINER = "\u200d";

/** Returns the visible form of a character, or undefined if the character is visible itself. */
export function visibleForm(character: string): string | undefined {
  if (character === "\ufffd") {
    // An invalid byte: visible already, but marked.
    return character;
  }
  if (character === ZERO_WIDTH_JOINER || !DECEPTIVE.test(character)) {
    return undefined;
  }
  const code = (character.codePointAt(0) as number).toString(16).toUpperCase().padStart(4, "0");
  return `<U+${code}>`;
}

/** Returns the caret notation of an ASCII control character, such as `^G` for the bell. */
export function caretNotation(byte: number): string {
  return `^${String.fromCharCode(byte ^ 0x40)}`;
}
