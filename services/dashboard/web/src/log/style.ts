/** The colours and attributes of output, as the "select graphic rendition" sequences of a terminal set them. */

/** No colour, or an index of the palette of 256 colours, or `TRUE_COLOUR` plus 0xRRGGBB. */
export type Colour = number;

export const DEFAULT_COLOUR: Colour = -1;
export const TRUE_COLOUR = 0x1000000;

/** Bits of `Style.attributes`. */
export const BOLD = 1;
export const DIM = 2;
export const ITALIC = 4;
export const UNDERLINE = 8;
export const INVERSE = 16;
export const HIDDEN = 32;
export const STRIKE = 64;

export interface Style {
  readonly foreground: Colour;
  readonly background: Colour;
  readonly attributes: number;
}

export const PLAIN: Style = { foreground: DEFAULT_COLOUR, background: DEFAULT_COLOUR, attributes: 0 };

const SET = new Map([
  [1, BOLD],
  [2, DIM],
  [3, ITALIC],
  [4, UNDERLINE],
  [7, INVERSE],
  [8, HIDDEN],
  [9, STRIKE],
  [21, UNDERLINE],
]);

const CLEAR = new Map([
  [22, BOLD | DIM],
  [23, ITALIC],
  [24, UNDERLINE],
  [27, INVERSE],
  [28, HIDDEN],
  [29, STRIKE],
]);

export function sameStyle(a: Style, b: Style): boolean {
  return (
    a === b ||
    (a.foreground === b.foreground && a.background === b.background && a.attributes === b.attributes)
  );
}

/** Returns the style after `CSI parameters m`. Ignores parameters that it does not know. */
export function applyRendition(style: Style, parameters: string): Style {
  const list = parameters.split(";");
  let next = style;
  for (let at = 0; at < list.length; at += 1) {
    const parts = (list[at] as string).split(":");
    const code = Number(parts[0]);
    if (code === 38 || code === 48) {
      const colons = parts.length > 1;
      const [colour, used] = extendedColour(colons ? parts.slice(1) : list.slice(at + 1));
      at += colons ? 0 : used;
      next = colour === undefined ? next : withColour(next, code === 38, colour);
    } else {
      // 4:0 turns the underline off; 4:3 is a curly one.
      next = applyCode(next, code === 4 && parts[1] === "0" ? 24 : code);
    }
  }
  return next;
}

function applyCode(style: Style, code: number): Style {
  if (code === 0) {
    return PLAIN;
  }
  const set = SET.get(code);
  if (set) {
    return { ...style, attributes: style.attributes | set };
  }
  const clear = CLEAR.get(code);
  if (clear) {
    return { ...style, attributes: style.attributes & ~clear };
  }
  return applyColourCode(style, code);
}

function applyColourCode(style: Style, code: number): Style {
  if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) {
    return withColour(style, true, code >= 90 ? code - 82 : code - 30);
  }
  if ((code >= 40 && code <= 47) || (code >= 100 && code <= 107)) {
    return withColour(style, false, code >= 100 ? code - 92 : code - 40);
  }
  return code === 39 || code === 49 ? withColour(style, code === 39, DEFAULT_COLOUR) : style;
}

function withColour(style: Style, foreground: boolean, colour: Colour): Style {
  return foreground ? { ...style, foreground: colour } : { ...style, background: colour };
}

/** Returns the colour that follows 38 or 48, and the number of parameters that name it. */
function extendedColour(parameters: readonly string[]): [Colour | undefined, number] {
  if (parameters[0] === "5") {
    const index = Number(parameters[1]);
    return [index >= 0 && index <= 255 ? index : undefined, 2];
  }
  if (parameters[0] !== "2") {
    return [undefined, parameters.length];
  }
  // With colons, a colour space can precede red, green and blue: 38:2::255:0:0.
  const first = parameters.length === 5 && parameters[1] === "" ? 2 : 1;
  const [red, green, blue] = parameters.slice(first, first + 3).map(Number);
  const valid = [red, green, blue].every((value) => value !== undefined && value >= 0 && value <= 255);
  return [valid ? TRUE_COLOUR + Number(red) * 65536 + Number(green) * 256 + Number(blue) : undefined, 4];
}
