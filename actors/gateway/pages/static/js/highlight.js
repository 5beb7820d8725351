// A small tokenizer, line by line: a line's tokens depend on its text and on the state in which the line before it ended, so that an edit
// repaints only the lines it touches. It colours; it does not parse: what it does not know stays plain.

const words = (text) => new Set(text.split(" "));

const C_KEYWORDS =
  "alignas alignof auto break case catch class concept const consteval constexpr constinit continue co_await co_return co_yield decltype default delete do else enum explicit export extern final for friend goto if inline mutable namespace new noexcept operator override private protected public register requires return sizeof static static_assert static_cast dynamic_cast const_cast reinterpret_cast struct switch template this throw try typedef typeid typename union using virtual volatile while true false nullptr NULL restrict";
const C_TYPES =
  "bool char char8_t char16_t char32_t double float int long short signed unsigned void wchar_t size_t ssize_t int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t string vector map set pair queue stack deque array tuple multiset unordered_map unordered_set priority_queue bitset";

const LANGUAGES = {
  c: { line: "//", block: ["/*", "*/"], meta: "#", quotes: `"'`, keywords: words(C_KEYWORDS), types: words(C_TYPES) },
  python: {
    line: "#",
    triple: true,
    meta: "@",
    quotes: `"'`,
    keywords: words(
      "False None True and as assert async await break case class continue def del elif else except finally for from global if import in is lambda match nonlocal not or pass raise return try while with yield",
    ),
    types: words("int str float bool list dict set tuple bytes object range complex frozenset"),
  },
  java: {
    line: "//",
    block: ["/*", "*/"],
    meta: "@",
    quotes: `"'`,
    keywords: words(
      "abstract assert break case catch class const continue default do else enum extends final finally for goto if implements import instanceof interface native new package permits private protected public record return sealed static strictfp super switch synchronized this throw throws transient try var volatile while yield true false null",
    ),
    types: words("boolean byte char double float int long short void String Integer Long Double Boolean Object List Map Set ArrayList HashMap Scanner"),
  },
  javascript: {
    line: "//",
    block: ["/*", "*/"],
    quotes: `"'`,
    template: true,
    keywords: words(
      "async await break case catch class const continue debugger default delete do else export extends finally for from function get if import in instanceof let new of return set static super switch this throw try typeof var void while with yield true false null undefined NaN Infinity",
    ),
    types: words("Array BigInt Boolean Date Map Math Number Object Promise Set String Symbol"),
  },
  go: {
    line: "//",
    block: ["/*", "*/"],
    quotes: `"'`,
    template: true,
    keywords: words(
      "break case chan const continue default defer else fallthrough for func go goto if import interface map package range return select struct switch type var true false nil iota",
    ),
    types: words("bool byte complex64 complex128 error float32 float64 int int8 int16 int32 int64 rune string uint uint8 uint16 uint32 uint64 uintptr any"),
  },
  rust: {
    line: "//",
    block: ["/*", "*/"],
    meta: "#",
    quotes: `"`,
    keywords: words(
      "as async await break const continue crate dyn else enum extern false fn for if impl in let loop match mod move mut pub ref return self Self static struct super trait true type unsafe use where while",
    ),
    types: words("bool char f32 f64 i8 i16 i32 i64 i128 isize str u8 u16 u32 u64 u128 usize String Vec Option Result Box HashMap HashSet BTreeMap"),
  },
};
const ALIASES = { cpp: "c", "c++": "c", js: "javascript", node: "javascript", python3: "python", pypy: "python", pypy3: "python" };

const WORD = /[A-Za-z_$\u00a1-\uffff][\w$\u00a1-\uffff]*/y;
const NUMBER = /(?:0[xX][\da-fA-F_']+|0[bB][01_']+|\d[\d_']*(?:\.[\d_]*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)[uUlLfFnj]*/y;

/** The rules of a language's identifier, or null: then everything is plain. */
export function rulesFor(language) {
  return LANGUAGES[language] ?? LANGUAGES[ALIASES[language]] ?? null;
}

function match(pattern, text, at) {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0] ?? "";
}

/** Where a string that began before `at` ends: after its closing `quote`, or -1 when the line ends first. */
function closing(text, at, quote) {
  for (let i = at; i < text.length; i++) {
    if (text[i] === "\\" && quote !== "*/") i++;
    else if (text.startsWith(quote, i)) return i + quote.length;
  }
  return -1;
}

/**
 * Return `{ tokens: [[class, text], …], state }` for one line; class "" is plain. `state` is "" or what must be closed: a block comment's end,
 * a triple quote or a backtick. The tokens' texts joined are the line.
 */
export function line(rules, text, state = "") {
  const tokens = [];
  const put = (kind, part) => {
    const last = tokens[tokens.length - 1];
    if (last && last[0] === kind) last[1] += part;
    else if (part) tokens.push([kind, part]);
  };
  if (!rules) return { tokens: text ? [["", text]] : [], state: "" };
  let at = 0;
  const run = (kind, from, quote) => {
    const end = closing(text, from, quote);
    put(kind, text.slice(at, end < 0 ? text.length : end));
    at = end < 0 ? text.length : end;
    return end < 0 ? quote : "";
  };
  if (state) {
    state = run(state === "*/" ? "c" : "s", 0, state);
    if (state) return { tokens, state };
  }
  if (rules.meta && at === 0) {
    const lead = text.length - text.trimStart().length;
    if (text.startsWith(rules.meta, lead)) {
      const end = rules.meta === "#" ? text.length : lead + 1 + match(WORD, text, lead + 1).length;
      put("m", text.slice(0, end));
      at = end;
    }
  }
  while (at < text.length) {
    const here = text[at];
    if (rules.line && text.startsWith(rules.line, at)) {
      put("c", text.slice(at));
      at = text.length;
    } else if (rules.block && text.startsWith(rules.block[0], at)) {
      state = run("c", at + 2, rules.block[1]);
    } else if (rules.triple && (text.startsWith('"""', at) || text.startsWith("'''", at))) {
      state = run("s", at + 3, text.slice(at, at + 3));
    } else if (rules.template && here === "`") {
      state = run("s", at + 1, "`");
    } else if (rules.quotes.includes(here)) {
      run("s", at + 1, here); // a string that is not closed ends with its line
    } else if (/\d/.test(here) || (here === "." && /\d/.test(text[at + 1] ?? ""))) {
      const number = match(NUMBER, text, at) || here;
      put("n", number);
      at += number.length;
    } else {
      const word = match(WORD, text, at);
      if (word) {
        const calls = text[at + word.length] === "(";
        put(rules.keywords.has(word) ? "k" : rules.types.has(word) ? "t" : calls ? "f" : "", word);
        at += word.length;
      } else {
        put("", here);
        at += 1;
      }
    }
  }
  return { tokens, state };
}

/** Paints text into a <pre>, line by line, and repaints only what changed. */
export class Painter {
  constructor(pre) {
    this.pre = pre;
    this.lines = []; // [text, state before, state after, element]
    this.rules = null;
  }

  paint(text, language) {
    const rules = rulesFor(language);
    const texts = text.split("\n");
    if (rules !== this.rules) this.lines.length = 0;
    this.rules = rules;
    const old = this.lines;
    let head = 0;
    while (head < old.length && head < texts.length && old[head][0] === texts[head]) head++;
    let tail = 0;
    while (
      tail < old.length - head &&
      tail < texts.length - head &&
      old[old.length - 1 - tail][0] === texts[texts.length - 1 - tail]
    )
      tail++;
    const kept = old.slice(old.length - tail);
    const made = [];
    let state = head ? old[head - 1][2] : "";
    for (let i = head; i < texts.length - tail; i++) {
      made.push(this.make(texts[i], state));
      state = made[made.length - 1][2];
    }
    // The lines below keep their paint unless a comment or a string now reaches into them.
    for (let i = 0; i < kept.length && kept[i][1] !== state; i++) {
      kept[i] = this.make(kept[i][0], state);
      state = kept[i][2];
    }
    this.lines = [...old.slice(0, head), ...made, ...kept];
    this.place();
  }

  make(text, before) {
    const { tokens, state } = line(this.rules, text, before);
    const element = document.createElement("span");
    for (const [kind, part] of tokens) {
      if (kind) {
        const span = document.createElement("span");
        span.className = `tk-${kind}`;
        span.textContent = part;
        element.append(span);
      } else {
        element.append(part);
      }
    }
    element.append("\n");
    return [text, before, state, element];
  }

  place() {
    const { pre } = this;
    const wanted = new Set(this.lines.map((each) => each[3]));
    for (const child of [...pre.childNodes]) if (!wanted.has(child)) child.remove();
    let next = pre.firstChild;
    for (const [, , , element] of this.lines) {
      if (element === next) next = next.nextSibling;
      else pre.insertBefore(element, next);
    }
  }
}
