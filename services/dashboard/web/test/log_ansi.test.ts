import assert from "node:assert/strict";
import { test } from "node:test";
import { EscapeParser, INITIAL_STATE } from "../src/log/escape_parser.js";
import { rowSpans, rowText } from "../src/log/row_text.js";
import { BOLD, ITALIC, PLAIN, TRUE_COLOUR, UNDERLINE } from "../src/log/style.js";

const bytes = (text: string) => new TextEncoder().encode(text);
const spans = (text: string) => rowSpans(bytes(text), INITIAL_STATE);
const shown = (text: string) => rowText(bytes(text), INITIAL_STATE);
const styleOf = (sequence: string) => spans(`\x1b[${sequence}mx`)[0]?.style;

test("ordinary text is one span without a style", () => {
  assert.deepEqual(spans("héllo wörld\n"), [
    { text: "héllo wörld", style: PLAIN, link: "", substitute: false },
  ]);
  assert.deepEqual(spans("\n"), []);
});

test("the 16, 256 and 16 million colours", () => {
  assert.deepEqual(styleOf("31"), { ...PLAIN, foreground: 1 });
  assert.deepEqual(styleOf("97;104"), { ...PLAIN, foreground: 15, background: 12 });
  assert.deepEqual(styleOf("38;5;208"), { ...PLAIN, foreground: 208 });
  assert.deepEqual(styleOf("48;2;1;2;3;1"), {
    ...PLAIN,
    background: TRUE_COLOUR + 0x010203,
    attributes: BOLD,
  });
  assert.deepEqual(styleOf("38:2::255:0:16"), { ...PLAIN, foreground: TRUE_COLOUR + 0xff0010 });
  assert.deepEqual(styleOf("38:5:7;3"), { ...PLAIN, foreground: 7, attributes: ITALIC });
});

test("invalid colours are ignored", () => {
  assert.deepEqual(styleOf("38;5;999"), PLAIN);
  assert.deepEqual(styleOf("38;2;1;2"), PLAIN);
  assert.deepEqual(styleOf("1234"), PLAIN);
});

test("attributes are set and cleared", () => {
  assert.equal(styleOf("1;3;4")?.attributes, BOLD | ITALIC | UNDERLINE);
  assert.equal(styleOf("1;3;22")?.attributes, ITALIC);
  assert.deepEqual(styleOf("1;31;0"), PLAIN);
  assert.deepEqual(styleOf("1;31;"), PLAIN);
});

test("a style lasts until the next sequence, over line ends", () => {
  const parser = new EscapeParser();
  parser.feed(bytes("a\x1b[32mb\n"));
  assert.equal(parser.style.foreground, 2);
  assert.equal(rowSpans(bytes("next"), parser.state)[0]?.style.foreground, 2);
});

test("a sequence can be split at any byte", () => {
  const whole = bytes("a\x1b[1;38;2;9;8;7mb\x1b]8;;http://a/é\x1b\\c\x1b]0;title\x07d\x1bPignored\x1b\\e");
  for (let at = 0; at <= whole.length; at += 1) {
    const parser = new EscapeParser();
    parser.feed(whole.subarray(0, at));
    const rest = new EscapeParser(parser.state);
    rest.feed(whole.subarray(at));
    assert.equal(rest.style.foreground, TRUE_COLOUR + 0x090807, `split at ${at}`);
    assert.equal(rest.link, "http://a/é", `split at ${at}`);
    assert.equal(rest.state.mode, 0, `split at ${at}`);
  }
});

test("a carriage return overwrites, and the last state shows", () => {
  assert.equal(shown("10%\r50%\r100%\n"), "100%");
  assert.equal(shown("loading...\rdone\x1b[K\n"), "done");
  assert.equal(shown("loading\rdone"), "doneing");
  assert.equal(shown("windows line\r\n"), "windows line");
});

test("backspaces and movements of the cursor in the line", () => {
  assert.equal(shown("|\b/\b-\b\\"), "\\");
  assert.equal(shown("abc\x1b[2DX"), "aXc");
  assert.equal(shown("a\x1b[3Cb\x1b[1Gz"), "z   b");
  assert.equal(shown("abc\x1b[2Kd"), "   d");
  assert.equal(shown("\x1b[999999999Cx".repeat(100)).length, 1024 + 100);
});

test("sequences without a meaning for one line are not shown", () => {
  assert.equal(shown("\x1b[2J\x1b[H\x1b[?25lhidden cursor\x1b(B\x1b]0;title\x07!"), "hidden cursor!");
});

test("control characters, invalid UTF-8 and deceptive characters are visible", () => {
  assert.deepEqual(
    spans("a\x07b").map(({ text, substitute }) => [text, substitute]),
    [
      ["a", false],
      ["^G", true],
      ["b", false],
    ],
  );
  assert.equal(shown("\x00\x7f"), "^@^?");
  assert.equal(shown("user\u202Etxt.exe"), "user<U+202E>txt.exe");
  assert.equal(shown("a\u200Bb\u2028c\u{E0041}\u009b31m"), "a<U+200B>b<U+2028>c<U+E0041><U+009B>31m");
  assert.equal(shown("👩‍💻"), "👩‍💻");
  const invalid = rowSpans(Uint8Array.of(0x61, 0xff, 0xc3, 0x0a), INITIAL_STATE);
  assert.deepEqual(
    invalid.map(({ text, substitute }) => [text, substitute]),
    [
      ["a", false],
      ["\ufffd\ufffd", true],
    ],
  );
});

test("a link ends with its line", () => {
  const parser = new EscapeParser();
  parser.feed(bytes("\x1b]8;;javascript:alert(1)\x07text"));
  assert.equal(parser.link, "javascript:alert(1)");
  parser.feed(bytes("\nmore"));
  assert.equal(parser.link, "");
});

test("a command without an end does not swallow the next line", () => {
  const parser = new EscapeParser();
  parser.feed(bytes("\x1b]0;never ends\n"));
  assert.equal(rowText(bytes("visible"), parser.state), "visible");
});

test("a row has a bounded number of spans and loses no text", () => {
  const text = Array.from({ length: 1000 }, (_, index) => `\x1b[${31 + (index % 2)}m${index % 10}`).join("");
  assert.ok(spans(text).length <= 96);
  assert.equal(shown(text).length, 1000);
});
