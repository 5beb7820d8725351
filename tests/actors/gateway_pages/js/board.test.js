import assert from "node:assert/strict";
import test from "node:test";
import { compare, contestTime, describe, firsts, isNews, markOf, merge, points, rerank } from "../js/board.js";

const row = (user_id, score, penalty = 0, last_ms = 0, rank = 0) => ({ user_id, score, penalty, last_ms, rank, cells: {} });
const ranks = (rows) => rows.map((each) => [each.user_id, each.rank]);
const icpc = (rows, rest = {}) => ({ rules: "icpc", rows, offset: 0, limit: 100, total: rows.length, version: 1, ...rest });

test("more solved, then less penalty, then the earlier second stands before", () => {
  assert.ok(compare("icpc", row("a", 2), row("b", 1)) < 0);
  assert.ok(compare("icpc", row("a", 1, 10), row("b", 1, 11)) < 0);
  assert.ok(compare("icpc", row("a", 1, 10, 4000), row("b", 1, 10, 5000)) < 0);
  assert.equal(compare("icpc", row("a", 1, 10, 4001), row("b", 1, 10, 4999)), 0);
  assert.equal(compare("ioi", row("a", 33.5, 1), row("b", 33.5, 2)), 0);
});

test("rank is the number strictly better plus one, equals by identifier", () => {
  const rows = rerank("icpc", [row("d", 1), row("c", 2), row("b", 2), row("a", 3)]);
  assert.deepEqual(ranks(rows), [["a", 1], ["b", 2], ["c", 2], ["d", 4]]);
});

test("a row that did not change stays the same object, so nothing is drawn again", () => {
  const rows = rerank("icpc", [row("a", 2), row("b", 1)]);
  const again = rerank("icpc", rows);
  assert.ok(again.every((each, i) => each === rows[i]));
});

test("a changed row takes its place and moves the others", () => {
  const board = icpc(rerank("icpc", [row("a", 3), row("b", 2), row("c", 1)]));
  const merged = merge(board, { ...row("c", 3, -1), rank: 1 });
  assert.deepEqual(ranks(merged.rows), [["c", 1], ["a", 2], ["b", 3]]);
  assert.ok(merged.complete);
});

test("a newcomer on a whole board is simply added", () => {
  const merged = merge(icpc(rerank("icpc", [row("a", 1)])), { ...row("b", 0), rank: 2 }, 2);
  assert.deepEqual(ranks(merged.rows), [["a", 1], ["b", 2]]);
  assert.ok(merged.complete);
});

test("on one page of many: inside moves at once, crossing the edge asks for the page again", () => {
  const rows = rerank("icpc", [row("a", 9), row("b", 8), row("c", 7)], 11);
  const board = icpc(rows, { offset: 10, limit: 3, total: 50 });
  const inside = merge(board, { ...row("c", 8, -1), rank: 12 });
  assert.deepEqual(ranks(inside.rows), [["a", 11], ["c", 12], ["b", 13]]);
  assert.ok(inside.complete);
  assert.ok(!merge(board, { ...row("c", 99), rank: 1 }).complete, "left upwards");
  assert.ok(!merge(board, { ...row("x", 99), rank: 2 }).complete, "passed through");
  assert.ok(!merge(board, { ...row("x", 8), rank: 12 }).complete, "came in");
  assert.ok(merge(board, { ...row("x", 1), rank: 40 }).complete, "stays below");
});

test("merging never changes its input", () => {
  const board = icpc(Object.freeze(rerank("icpc", [row("a", 2), row("b", 1)]).map(Object.freeze)));
  merge(board, { ...row("b", 3), rank: 1 });
  assert.deepEqual(ranks(board.rows), [["a", 1], ["b", 2]]);
});

test("an old version is no news", () => {
  assert.ok(!isNews({ version: 5 }, { version: 5 }));
  assert.ok(isNews({ version: 5 }, { version: 6 }));
});

test("the first solver is the earliest", () => {
  const cell = (time_ms, solved = true) => ({ solved, attempts: 1, pending: 0, time_ms, score: 0 });
  const rows = [
    { ...row("a", 1), cells: { p: cell(50), q: cell(-1, false) } },
    { ...row("b", 1), cells: { p: cell(40) } },
  ];
  assert.deepEqual([...firsts(rows)], [["p", "b"]]);
});

test("cells say what happened", () => {
  const cell = (changes) => ({ solved: false, attempts: 0, pending: 0, time_ms: -1, score: 0, ...changes });
  assert.equal(describe("icpc", undefined), null);
  assert.equal(describe("icpc", cell({})), null);
  assert.equal(describe("icpc", cell({ attempts: 2 })).main, "−2");
  assert.equal(describe("icpc", cell({ attempts: 2, pending: 1 })).kind, "pending");
  assert.deepEqual(describe("icpc", cell({ solved: true, attempts: 3, time_ms: 4020000 })), {
    kind: "solved",
    main: "1:07",
    sub: "+2",
    words: "Solved at 1:07 with 3 tries",
  });
  assert.equal(describe("ioi", cell({ attempts: 1, score: 33.5 })).kind, "partial");
  assert.equal(describe("ioi", cell({ attempts: 1, score: 50 }), { full: 50 }).kind, "solved");
  assert.equal(contestTime(3599999), "0:59");
  assert.equal(points(0.1 + 0.2), "0.3");
});

test("a version is a short mark, another one for the next", () => {
  assert.equal(markOf(1795403777001), "#1wix");
  assert.equal(markOf(1795403777002), "#1wiy");
  assert.equal(markOf(7), "#0007");
});
