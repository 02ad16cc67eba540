import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { contrast, cssColours, MIN_CONTRAST, readable, SURFACES, themeColours } from "../src/log/colours.js";
import { DEFAULT_COLOUR, DIM, HIDDEN, INVERSE, PLAIN, TRUE_COLOUR } from "../src/log/style.js";

const palette = Array.from({ length: 256 }, (_, index) => index);

test("each colour of the palette is readable in both themes", () => {
  for (const theme of ["light", "dark"] as const) {
    for (const foreground of palette) {
      const { text, background } = themeColours({ ...PLAIN, foreground }, theme);
      assert.ok(contrast(text, background) >= MIN_CONTRAST, `${foreground} in ${theme}`);
      assert.deepEqual(background, SURFACES[theme].background);
    }
  }
});

test("text is readable on each background", () => {
  for (const theme of ["light", "dark"] as const) {
    for (const background of palette) {
      for (const foreground of [DEFAULT_COLOUR, background, 1, 15, TRUE_COLOUR + 0x808080]) {
        const colours = themeColours({ ...PLAIN, foreground, background }, theme);
        assert.ok(
          contrast(colours.text, colours.background) >= MIN_CONTRAST,
          `${foreground} on ${background}`,
        );
      }
    }
  }
});

test("colours with enough contrast are not changed", () => {
  assert.deepEqual(readable([0, 0, 0], [255, 255, 255]), [0, 0, 0]);
  assert.deepEqual(
    themeColours({ ...PLAIN, foreground: TRUE_COLOUR + 0x123456 }, "light").text,
    [18, 52, 86],
  );
});

test("inverse text swaps the colours", () => {
  const { text, background } = themeColours({ ...PLAIN, attributes: INVERSE }, "dark");
  assert.deepEqual(background, SURFACES.dark.text);
  assert.deepEqual(text, SURFACES.dark.background);
});

test("dim text is nearer to its background, and readable", () => {
  for (const theme of ["light", "dark"] as const) {
    const { text, background } = themeColours({ ...PLAIN, attributes: DIM }, theme);
    const ratio = contrast(text, background);
    assert.ok(ratio >= MIN_CONTRAST && ratio < contrast(SURFACES[theme].text, background));
  }
});

test("a plain style has the colours of the page", () => {
  assert.deepEqual(cssColours(PLAIN), { color: undefined, background: undefined });
  assert.deepEqual(cssColours({ ...PLAIN, attributes: HIDDEN }), { color: undefined, background: undefined });
  assert.match(cssColours({ ...PLAIN, foreground: 1 }).color ?? "", /^light-dark\(rgb\(.*\), rgb\(.*\)\)$/);
});

test("the surfaces are those of the theme", () => {
  const theme = readFileSync("src/style/theme.css", "utf8");
  const hex = (colour: readonly number[]) =>
    `#${colour.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
  const { light, dark } = SURFACES;
  assert.ok(theme.includes(`--surface: light-dark(${hex(light.background)}, ${hex(dark.background)})`));
  assert.ok(theme.includes(`--text: light-dark(${hex(light.text)}, ${hex(dark.text)})`));
});
