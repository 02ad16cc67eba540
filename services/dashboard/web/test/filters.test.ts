import assert from "node:assert/strict";
import { test } from "node:test";
import { create, JobSchema, JobStatus } from "@jobworker/client/browser";
import { changeQuery } from "../src/app/query.js";
import {
  filterQuery,
  isFiltered,
  NO_FILTERS,
  onNode,
  readFilters,
  toWatchFilter,
} from "../src/jobs/filters.js";

const NOW = new Date("2026-11-26T18:00:00Z");

function filtersOf(search: string) {
  return readFilters(new URLSearchParams(search));
}

test("filters survive the address", () => {
  const filters = filtersOf(
    "status=failed,lost&owner=CN%3Dalice&label=a%3D1&label=b%3Dx%3Dy&node=n1&q=make&since=1h",
  );
  assert.deepEqual(filters.statuses, [JobStatus.FAILED, JobStatus.LOST]);
  assert.deepEqual(filters.labels, [
    { key: "a", value: "1" },
    { key: "b", value: "x=y" },
  ]);
  const query = changeQuery(new URLSearchParams(), filterQuery(filters));
  assert.deepEqual(readFilters(query), filters);
});

test("unknown values in the address are ignored", () => {
  assert.deepEqual(filtersOf("status=sleepy&since=forever&from=yesterday&tab=log"), NO_FILTERS);
  assert.equal(isFiltered(NO_FILTERS), false);
  assert.equal(isFiltered(filtersOf("q=x")), true);
});

test("a change of one filter keeps the others", () => {
  const query = changeQuery(
    new URLSearchParams("q=make&status=failed&sort=owner"),
    filterQuery({ statuses: [] }),
  );
  assert.equal(query.toString(), "q=make&sort=owner");
});

test("the server filters by the start of an id if the text looks like one", () => {
  const id = "0193a1b2-c3d4";
  assert.equal(toWatchFilter(filtersOf(`q=${id}`), NOW).idPrefix, id);
  assert.equal(toWatchFilter(filtersOf("q=deadbeef"), NOW).idPrefix, "deadbeef");
  assert.equal(toWatchFilter(filtersOf("q=make"), NOW).commandContains, "make");
  assert.equal(toWatchFilter(filtersOf("q=make"), NOW).idPrefix, undefined);
});

test("a period counts from now and replaces the times", () => {
  const filter = toWatchFilter(filtersOf("since=1h&from=2020-01-01T00:00"), NOW);
  assert.deepEqual(filter.createdAfter, new Date("2026-11-26T17:00:00Z"));
  assert.equal(filter.createdBefore, undefined);
});

test("times without a period are those of the local zone", () => {
  const filter = toWatchFilter(filtersOf("from=2026-11-26T08:00&to=2026-11-26T09:30"), NOW);
  assert.deepEqual(filter.createdAfter, new Date(2026, 10, 26, 8, 0));
  assert.deepEqual(filter.createdBefore, new Date(2026, 10, 26, 9, 30));
});

test("the page filters by the node, and the server does not", () => {
  const jobs = new Map(["n1", "n2", ""].map((node) => [node, create(JobSchema, { id: node, node })]));
  const filters = filtersOf("node=n2");
  assert.deepEqual([...onNode(jobs, filters).keys()], ["n2"]);
  assert.equal(onNode(jobs, NO_FILTERS), jobs);
  assert.equal(isFiltered(filters), true);
  assert.deepEqual(toWatchFilter(filters, NOW), toWatchFilter(NO_FILTERS, NOW));
});
