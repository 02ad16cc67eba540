import assert from "node:assert/strict";
import { test } from "node:test";
import { findBinding } from "../src/app/keys.js";

const run = () => {};
const outer = { title: "Outer", bindings: [{ keys: ["j", "ArrowDown"], help: "outer", run }] };
const inner = { title: "Inner", bindings: [{ keys: "j", help: "inner", run, inFields: true }] };

test("a later group takes a key from an earlier one", () => {
  assert.equal(findBinding([outer, inner], "j", false)?.help, "inner");
  assert.equal(findBinding([outer, inner], "ArrowDown", false)?.help, "outer");
});

test("keys in text fields type text unless the binding wants them", () => {
  assert.equal(findBinding([outer], "j", true), undefined);
  assert.equal(findBinding([outer, inner], "j", true)?.help, "inner");
});

test("a key without a binding has no effect", () => {
  assert.equal(findBinding([outer, inner], "x", false), undefined);
});
