/** The elements of rows. Output reaches the page as text nodes only. */
import { cssColours } from "./colours.js";
import type { OutputRow, Row } from "./row_reader.js";
import { safeLink } from "./safe_link.js";
import type { Span } from "./screen_line.js";
import { STDERR } from "./source.js";
import { BOLD, HIDDEN, ITALIC, PLAIN, STRIKE, type Style, sameStyle, UNDERLINE } from "./style.js";
import { gapText } from "./text_clip.js";

const CLASSES = [
  [BOLD, "bold"],
  [ITALIC, "italic"],
  [UNDERLINE, "underline"],
  [HIDDEN, "hidden-text"],
  [STRIKE, "strike"],
] as const;

/** Returns the element of a row. `hrefOf` returns the permanent link to an offset. */
export function rowElement(row: Row, hrefOf: (offset: number) => string): HTMLElement {
  const element = document.createElement("div");
  element.className = "log-row";
  if (row.kind === "gap") {
    element.classList.add("gap");
    element.append(textElement([document.createTextNode(gapText(row.range))]));
  } else {
    element.classList.toggle("stderr", row.source === STDERR);
    element.append(lineNumber(row, hrefOf), timeElement(row.time), textElement(row.spans.map(spanNode)));
  }
  return element;
}

/** Returns the element with the text of a row. */
export function textOf(element: Element): Element {
  return element.lastElementChild as Element;
}

function lineNumber(row: OutputRow, hrefOf: (offset: number) => string): HTMLElement {
  const link = document.createElement("a");
  link.className = "log-number";
  link.tabIndex = -1;
  link.href = hrefOf(row.offset);
  link.dataset.offset = String(row.offset);
  const source = row.source === STDERR ? "stderr" : "stdout";
  link.title = `Link to line ${row.line}, ${source}, offset ${row.offset}`;
  link.setAttribute("aria-label", `Line ${row.line}, ${source}`);
  link.textContent = row.continued ? "↪" : String(row.line);
  return link;
}

function timeElement(time: number): HTMLElement {
  const date = new Date(time);
  const element = document.createElement("time");
  element.className = "log-time";
  element.dateTime = date.toISOString();
  element.title = date.toISOString();
  const digits = (value: number, count = 2) => String(value).padStart(count, "0");
  element.textContent =
    `${digits(date.getHours())}:${digits(date.getMinutes())}:${digits(date.getSeconds())}` +
    `.${digits(date.getMilliseconds(), 3)}`;
  return element;
}

function textElement(nodes: readonly Node[]): HTMLElement {
  const element = document.createElement("span");
  element.className = "log-text";
  element.append(...nodes);
  return element;
}

function spanNode(span: Span): Node {
  const link = span.link ? safeLink(span.link) : undefined;
  if (!link && !span.substitute && sameStyle(span.style, PLAIN)) {
    return document.createTextNode(span.text);
  }
  const element = link ? linkElement(link) : document.createElement("span");
  if (span.substitute) {
    element.classList.add("substitute");
  }
  applyStyle(element, span.style);
  element.append(span.text);
  return element;
}

function linkElement(href: string): HTMLElement {
  const link = document.createElement("a");
  link.href = href;
  link.title = href;
  link.target = "_blank";
  link.rel = "noopener noreferrer";
  return link;
}

function applyStyle(element: HTMLElement, style: Style): void {
  for (const [bit, name] of CLASSES) {
    if (style.attributes & bit) {
      element.classList.add(name);
    }
  }
  const { color, background } = cssColours(style);
  // The content security policy forbids style attributes, but not properties.
  if (color) {
    element.style.color = color;
  }
  if (background) {
    element.style.backgroundColor = background;
  }
}
