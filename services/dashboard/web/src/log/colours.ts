/** The colours of styles, with enough contrast in both themes. */
import { BOLD, type Colour, DEFAULT_COLOUR, DIM, INVERSE, type Style, TRUE_COLOUR } from "./style.js";

/** Red, green and blue from 0 to 255. */
export type Rgb = readonly [number, number, number];

/** The colours of the surface on which output is shown: `--surface` and `--text` of the theme. */
export const SURFACES = {
  light: { background: [0xff, 0xff, 0xff], text: [0x1a, 0x1e, 0x24] },
  dark: { background: [0x15, 0x1a, 0x21], text: [0xe3, 0xe8, 0xee] },
} as const satisfies Record<string, { background: Rgb; text: Rgb }>;

type Theme = keyof typeof SURFACES;

// How much of the background's colour dim text has.
const DIM_SHARE = 0.4;

/** The contrast that WCAG AA requires of text. */
export const MIN_CONTRAST = 4.5;

// The palette of xterm, with a blue and a red that are easier to tell from black.
const BASIC: readonly number[] = [
  0x000000, 0xcd3131, 0x0dbc79, 0xc5a500, 0x2472c8, 0xbc3fbc, 0x11a8cd, 0xcccccc, 0x767676, 0xf14c4c,
  0x23d18b, 0xf5f543, 0x3b8eea, 0xd670d6, 0x29b8db, 0xffffff,
];
const CUBE = [0, 95, 135, 175, 215, 255] as const;

/** CSS colours. `undefined` = as the surface. */
export interface CssColours {
  readonly color: string | undefined;
  readonly background: string | undefined;
}

// Styles are few in practice. A job that uses millions must not fill the memory.
const MAX_KNOWN = 4096;
const known = new Map<string, CssColours>();

/** Returns the CSS colours of a style, which follow the theme by themselves. */
export function cssColours(style: Style): CssColours {
  const key = `${style.foreground} ${style.background} ${style.attributes & (INVERSE | DIM | BOLD)}`;
  let colours = known.get(key);
  if (!colours) {
    if (known.size >= MAX_KNOWN) {
      known.clear();
    }
    colours = resolve(style);
    known.set(key, colours);
  }
  return colours;
}

function resolve(style: Style): CssColours {
  const light = themeColours(style, "light");
  const dark = themeColours(style, "dark");
  const both = (one: Rgb, other: Rgb) => `light-dark(${css(one)}, ${css(other)})`;
  const inverse = (style.attributes & INVERSE) !== 0;
  const special = style.attributes & (INVERSE | DIM);
  const plain = style.foreground === DEFAULT_COLOUR && style.background === DEFAULT_COLOUR && !special;
  const filled = style.background !== DEFAULT_COLOUR || inverse;
  return {
    color: plain ? undefined : both(light.text, dark.text),
    background: filled ? both(light.background, dark.background) : undefined,
  };
}

/** Returns the colours of a style in a theme. Their contrast is at least `MIN_CONTRAST`. */
export function themeColours(style: Style, theme: Theme): { text: Rgb; background: Rgb } {
  const surface = SURFACES[theme];
  // As in most terminals, bold text in one of the first eight colours is bright.
  const bright = style.attributes & BOLD && style.foreground >= 0 && style.foreground < 8 ? 8 : 0;
  const text = rgb(style.foreground === DEFAULT_COLOUR ? DEFAULT_COLOUR : style.foreground + bright);
  const pair = { text: text ?? surface.text, background: rgb(style.background) ?? surface.background };
  const shown = style.attributes & INVERSE ? { text: pair.background, background: pair.text } : pair;
  const dimmed = style.attributes & DIM ? mix(shown.text, shown.background, DIM_SHARE) : shown.text;
  return { text: readable(dimmed, shown.background), background: shown.background };
}

/** Returns the colour, or the nearest darker or lighter one with enough contrast to the background. */
export function readable(text: Rgb, background: Rgb): Rgb {
  const target: Rgb = luminance(background) > 0.18 ? [0, 0, 0] : [255, 255, 255];
  for (let share = 0; share < 1; share += 0.05) {
    const mixed = mix(text, target, share);
    if (contrast(mixed, background) >= MIN_CONTRAST) {
      return mixed;
    }
  }
  return target;
}

/** Returns the contrast ratio of two colours, as WCAG defines it. */
export function contrast(a: Rgb, b: Rgb): number {
  const [dark, light] = [luminance(a), luminance(b)].sort((one, other) => one - other) as [number, number];
  return (light + 0.05) / (dark + 0.05);
}

function luminance(colour: Rgb): number {
  const [red, green, blue] = colour.map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function mix(from: Rgb, to: Rgb, share: number): Rgb {
  return from.map((value, index) =>
    Math.round(value + ((to[index] as number) - value) * share),
  ) as unknown as Rgb;
}

/** Returns the colour of the palette, or undefined for the default colour. */
function rgb(colour: Colour): Rgb | undefined {
  if (colour === DEFAULT_COLOUR) {
    return undefined;
  }
  if (colour >= TRUE_COLOUR) {
    return parts(colour - TRUE_COLOUR);
  }
  if (colour < 16) {
    return parts(BASIC[colour] as number);
  }
  if (colour >= 232) {
    const grey = 8 + 10 * (colour - 232);
    return [grey, grey, grey];
  }
  const cube = colour - 16;
  const level = (step: number) => CUBE[step % 6] as number;
  return [level(Math.floor(cube / 36)), level(Math.floor(cube / 6)), level(cube)];
}

function parts(value: number): Rgb {
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255];
}

function css([red, green, blue]: Rgb): string {
  return `rgb(${red} ${green} ${blue})`;
}
