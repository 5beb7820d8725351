import assert from "node:assert/strict";
import test from "node:test";
import { duration } from "../js/clock.js";
import { languageOf, starter } from "../js/starters.js";

test("a countdown rounds up and never goes below zero", () => {
  assert.equal(duration(-5), "00:00");
  assert.equal(duration(1), "00:01");
  assert.equal(duration(59_999), "01:00");
  assert.equal(duration(3_600_000), "1:00:00");
  assert.equal(duration(90_061_000), "1d 01:01:01");
});

test("files find their language, and every language has a beginning", () => {
  assert.equal(languageOf("Main.JAVA"), "java");
  assert.equal(languageOf("a.b.cc"), "cpp");
  assert.equal(languageOf("notes.txt"), null);
  for (const language of ["c", "cpp", "python", "java", "javascript", "go", "rust"]) assert.match(starter(language), /\n$/);
  assert.equal(starter("cobol"), "");
});
