import assert from "node:assert/strict";
import { test } from "node:test";
import { commandLine } from "../src/ui/command_line.js";

test("words with characters that a shell interprets are quoted", () => {
  assert.equal(commandLine("ls", ["-l", "/tmp/a-b_c.d"]), "ls -l /tmp/a-b_c.d");
  assert.equal(commandLine("sh", ["-c", "echo $HOME; exit 3"]), "sh -c 'echo $HOME; exit 3'");
  assert.equal(commandLine("echo", ["it's", ""]), `echo "it's" ''`);
});

test("double quotes are used only around text that no shell changes", () => {
  for (const special of ['"', "$", "`", "\\", "!"]) {
    assert.equal(commandLine("echo", [`a'${special}`]), `echo 'a'\\''${special}'`);
  }
});
