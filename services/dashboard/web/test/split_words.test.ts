import assert from "node:assert/strict";
import { test } from "node:test";
import { splitWords } from "../src/create/split_words.js";
import { commandLine } from "../src/ui/command_line.js";

test("a line is split as by a shell", () => {
  const lines = new Map([
    ["", []],
    ["  ls   -l\t/tmp\n", ["ls", "-l", "/tmp"]],
    [`sh -c 'echo "a b"'`, ["sh", "-c", 'echo "a b"']],
    [`a"b c"'d e'f`, ["ab cd ef"]],
    [`echo '' ""`, ["echo", "", ""]],
    [String.raw`a\ b "x\"y\n" 'c\d'`, ["a b", String.raw`x"y\n`, String.raw`c\d`]],
    ["a\\\nb", ["ab"]],
    ["echo $HOME | wc > x", ["echo", "$HOME", "|", "wc", ">", "x"]],
  ]);
  for (const [line, words] of lines) {
    assert.deepEqual(splitWords(line), { words, error: "" });
  }
});

test("the error of an incomplete line names the missing character", () => {
  assert.match(splitWords("echo 'abc").error, /' is not closed/);
  assert.match(splitWords('echo "abc').error, /" is not closed/);
  assert.match(splitWords("echo abc\\").error, /backslash/);
});

test("a quoted command splits into the same words", () => {
  for (const words of [["a"], ["sh", "-c", "echo 'x y' \"$A\""], ["", "\\", "a\nb"]]) {
    const [command = "", ...args] = words;
    assert.deepEqual(splitWords(commandLine(command, args)).words, words);
  }
});
