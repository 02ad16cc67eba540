import assert from "node:assert/strict";
import { test } from "node:test";
import { changeQuery } from "../src/app/query.js";

test("a change keeps the other names", () => {
  const next = changeQuery(new URLSearchParams("q=a&tab=log"), { tab: "usage" });
  assert.equal(next.toString(), "q=a&tab=usage");
});

test("undefined and an empty text remove a name", () => {
  const next = changeQuery(new URLSearchParams("q=a&tab=log"), { q: "", tab: undefined });
  assert.equal(next.toString(), "");
});

test("a list sets a name several times", () => {
  const next = changeQuery(new URLSearchParams("label=a%3D1"), { label: ["b=2", "c=3"] });
  assert.deepEqual(next.getAll("label"), ["b=2", "c=3"]);
});
