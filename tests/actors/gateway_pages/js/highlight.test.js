import assert from "node:assert/strict";
import test from "node:test";
import { line, rulesFor } from "../js/highlight.js";

const LANGUAGES = ["c", "cpp", "python", "java", "javascript", "go", "rust"];
const kinds = (language, text, state = "") => line(rulesFor(language), text, state).tokens.filter(([kind]) => kind);

test("whatever is written, the tokens joined are the line: the underlay stays aligned", () => {
  const parts = ['"', "'", "`", "\\", "/*", "*/", "//", "#", "'''", '"""', " ", "\t", "int", "def", "x1", "0x1F", "3.5e-2", ".", "(", "é", "😀", "@", "$"];
  let seed = 7;
  const random = (n) => (seed = (seed * 1103515245 + 12345) % 2147483648) % n;
  for (let round = 0; round < 4000; round++) {
    const text = Array.from({ length: random(12) }, () => parts[random(parts.length)]).join("");
    for (const language of LANGUAGES) {
      for (const state of ["", "*/", '"""', "`"]) {
        const joined = line(rulesFor(language), text, state).tokens.map(([, part]) => part).join("");
        assert.equal(joined, text, language);
      }
    }
  }
});

test("keywords, types, calls, numbers, strings and comments", () => {
  assert.deepEqual(kinds("cpp", "int x = f(0x1F, 'a'); // no"), [
    ["t", "int"],
    ["f", "f"],
    ["n", "0x1F"],
    ["s", "'a'"],
    ["c", "// no"],
  ]);
  assert.deepEqual(kinds("python", "def f(x): return 'a\\'b' # c"), [
    ["k", "def"],
    ["f", "f"],
    ["k", "return"],
    ["s", "'a\\'b'"],
    ["c", "# c"],
  ]);
  assert.deepEqual(kinds("cpp", "#include <vector>"), [["m", "#include <vector>"]]);
});

test("comments and long strings reach over lines", () => {
  const open = line(rulesFor("java"), "a /* b");
  assert.equal(open.state, "*/");
  assert.deepEqual(kinds("java", "still */ int", "*/"), [["c", "still */"], ["t", "int"]]);
  assert.equal(line(rulesFor("python"), 'x = """a').state, '"""');
  assert.equal(line(rulesFor("python"), 'b """ + c', '"""').state, "");
  assert.equal(line(rulesFor("javascript"), "`a").state, "`");
});

test("a string that is not closed ends with its line", () => {
  assert.equal(line(rulesFor("c"), 'char *s = "abc').state, "");
});

test("an unknown language stays plain", () => {
  assert.deepEqual(line(rulesFor("cobol"), "MOVE 1 TO X"), { tokens: [["", "MOVE 1 TO X"]], state: "" });
});

test("a long line takes no longer than its length", () => {
  const started = performance.now();
  line(rulesFor("cpp"), "x".repeat(50_000) + '"\\'.repeat(20_000));
  assert.ok(performance.now() - started < 1000);
});
