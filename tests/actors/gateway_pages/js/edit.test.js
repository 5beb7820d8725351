import assert from "node:assert/strict";
import test from "node:test";
import { backspace, comment, indent, newline, outdent, pair } from "../js/edit.js";

/** "ab|cd" or "a[bc]d" → text and selection; and back again after a change. */
function parse(marked) {
  const from = marked.search(/[|⟦]/);
  const to = marked.includes("⟦") ? marked.indexOf("⟧") - 1 : from;
  return [marked.replace(/[|⟦⟧]/g, ""), from, to];
}
function apply(marked, act) {
  const [text, from, to] = parse(marked);
  const change = act(text, from, to);
  if (!change) return null;
  const made = text.slice(0, change.from) + change.insert + text.slice(change.to);
  const [a, b] = change.select;
  return a === b ? `${made.slice(0, a)}|${made.slice(a)}` : `${made.slice(0, a)}⟦${made.slice(a, b)}⟧${made.slice(b)}`;
}
const cases = (name, act, table) => {
  for (const [before, after] of table) {
    test(`${name}: ${JSON.stringify(before)}`, () => assert.equal(apply(before, act), after));
  }
};

cases("tab", indent, [
  ["|x", "    |x"],
  ["ab|", "ab  |"],
  ["⟦a\nb⟧", "⟦    a\n    b⟧"],
  ["⟦a\n\nb\n⟧c", "⟦    a\n\n    b⟧\nc"],
]);
cases("shift+tab", outdent, [
  ["    x|", "x|"],
  ["  x|", "x|"],
  ["x|", null],
  ["\tx|", "x|"],
  ["⟦    a\n      b⟧", "⟦a\n  b⟧"],
]);
cases("enter", newline, [
  ["  a|", "  a\n  |"],
  ["if (x) {|", "if (x) {\n    |"],
  ["f() {|}", "f() {\n    |\n}"],
  ["  f(|)", "  f(\n      |\n  )"],
  ["if x:|", "if x:\n|"],
]);
cases("enter in python", (text, from, to) => newline(text, from, to, { colon: true }), [["  if x:|", "  if x:\n      |"]]);
cases("(", (text, from, to) => pair(text, from, to, "("), [
  ["f|", "f(|)"],
  ["|x", null],
  ["⟦x⟧", "(⟦x⟧)"],
]);
cases('"', (text, from, to) => pair(text, from, to, '"'), [
  ["x = |", 'x = "|"'],
  ['"a|"', '"a"|'],
  ["f|", null],
]);
cases("'", (text, from, to) => pair(text, from, to, "'"), [["don|", null]]);
cases(")", (text, from, to) => pair(text, from, to, ")"), [
  ["f(|)", "f()|"],
  ["f(|", null],
]);
cases("}", (text, from, to) => pair(text, from, to, "}"), [
  ["{\n    |", "{\n}|"],
  ["{ x|", null],
]);
cases("backspace", backspace, [
  ["(|)", "|"],
  ["        |x", "    |x"],
  ["     |x", "    |x"],
  ["ab|", null],
  ["|", null],
]);
cases("comment", (text, from, to) => comment(text, from, to, "//"), [
  ["  a|b", "  // a|b"],
  ["  // a|b", "  a|b"],
  ["⟦a\n  b⟧", "⟦// a\n//   b⟧"],
  ["⟦// a\n// b⟧", "⟦a\nb⟧"],
]);
