/** The text of a row, from its bytes. */
import type { ParserState } from "./escape_parser.js";
import { ScreenLine, type Span } from "./screen_line.js";
import { PLAIN, sameStyle } from "./style.js";
import { NOT_PLAIN } from "./visible.js";

const LINE_FEED = 0x0a;
const RETURN = 0x0d;

/** Returns the text that a terminal shows of a row that begins in `state`. The text of the spans has no line feed. */
export function rowSpans(bytes: Uint8Array, state: ParserState): Span[] {
  const content = withoutEnd(bytes);
  const plain = plainText(content, state);
  if (plain === undefined) {
    return new ScreenLine(state).write(content);
  }
  return plain ? [{ text: plain, style: state.style, link: "", substitute: false }] : [];
}

/** Returns the visible text of a row. */
export function rowText(bytes: Uint8Array, state: ParserState): string {
  return rowSpans(bytes, state)
    .map((span) => span.text)
    .join("");
}

/** Reports whether the spans are one piece of ordinary text. */
export function isOrdinary(spans: readonly Span[]): boolean {
  const [span] = spans;
  return !span || (spans.length === 1 && !span.substitute && !span.link && sameStyle(span.style, PLAIN));
}

function plainText(content: Uint8Array, state: ParserState): string | undefined {
  if (state.link || state.mode) {
    return undefined;
  }
  const text = decoder.decode(content);
  return NOT_PLAIN.test(text) ? undefined : text;
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Returns the bytes without LF or CR LF at the end. */
function withoutEnd(bytes: Uint8Array): Uint8Array {
  let end = bytes.length;
  if (bytes[end - 1] === LINE_FEED) {
    end -= bytes[end - 2] === RETURN ? 2 : 1;
  }
  return bytes.subarray(0, end);
}
