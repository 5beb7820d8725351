// What keys do to the text, as pure functions: (text, from, to) → null (the browser's own way) or { from, to, insert, select: [from, to] },
// which says: replace that range, then select this one.

const PAIRS = { "(": ")", "[": "]", "{": "}", '"': '"', "'": "'" };
const CLOSERS = new Set([")", "]", "}", '"', "'"]);

function startOfLine(text, at) {
  return text.lastIndexOf("\n", at - 1) + 1;
}

/** Tab: indent to the next stop, or every selected line. */
export function indent(text, from, to, width = 4) {
  const first = startOfLine(text, from);
  if (!text.slice(from, to).includes("\n")) {
    const pad = " ".repeat(width - ((from - first) % width));
    return { from, to, insert: pad, select: [from + pad.length, from + pad.length] };
  }
  const last = to > from && text[to - 1] === "\n" ? to - 1 : to;
  const pad = " ".repeat(width);
  const insert = text.slice(first, last).replace(/^(?=.)/gm, pad);
  return { from: first, to: last, insert, select: [first, first + insert.length] };
}

/** Shift+Tab: take one step of indentation off each touched line. */
export function outdent(text, from, to, width = 4) {
  const first = startOfLine(text, from);
  const last = to > from && text[to - 1] === "\n" ? to - 1 : to;
  const step = new RegExp(`^(?:\\t| {1,${width}})`, "gm");
  const before = text.slice(first, last);
  const insert = before.replace(step, "");
  if (insert === before) return null;
  if (from !== to) return { from: first, to: last, insert, select: [first, first + insert.length] };
  const at = Math.max(first, from - (before.length - insert.length));
  return { from: first, to: last, insert, select: [at, at] };
}

/** Enter: keep the indentation, add a step after an opener, and open a pair up. */
export function newline(text, from, to, { width = 4, colon = false } = {}) {
  const first = startOfLine(text, from);
  const before = text.slice(first, from);
  const lead = /^[ \t]*/.exec(before)[0];
  const opener = before.trimEnd().slice(-1);
  const opens = "([{".includes(opener) && opener !== "";
  const deeper = opens || (colon && opener === ":") ? " ".repeat(width) : "";
  const insert = `\n${lead}${deeper}`;
  const at = from + insert.length;
  if (opens && text[to] === PAIRS[opener]) return { from, to, insert: `${insert}\n${lead}`, select: [at, at] };
  return { from, to, insert, select: [at, at] };
}

/** A bracket or a quote: close it, wrap the selection, or step over the closer that stands there. */
export function pair(text, from, to, key) {
  const next = text[to] ?? "";
  if (from === to && CLOSERS.has(key) && next === key) return { from, to, insert: "", select: [from + 1, from + 1] };
  const closer = PAIRS[key];
  if (!closer) return key === "}" ? closeBlock(text, from, to) : null;
  if (from !== to) {
    return { from, to, insert: key + text.slice(from, to) + closer, select: [from + 1, to + 1] };
  }
  const isQuote = key === closer;
  if (isQuote && /[\w"'\\]/.test(text[from - 1] ?? "")) return null; // don't, "" and f"…" are not openings
  if (next && !/[\s)\]},;:]/.test(next)) return null;
  return { from, to, insert: key + closer, select: [from + 1, from + 1] };
}

/** A "}" alone on its line goes one step back. */
function closeBlock(text, from, to, width = 4) {
  const first = startOfLine(text, from);
  const before = text.slice(first, from);
  if (from !== to || before === "" || before.trim() !== "") return null;
  const keep = before.slice(0, Math.max(0, before.length - width));
  return { from: first, to, insert: `${keep}}`, select: [first + keep.length + 1, first + keep.length + 1] };
}

/** Backspace: both halves of an empty pair, or a whole step of indentation. */
export function backspace(text, from, to, width = 4) {
  if (from !== to || from === 0) return null;
  const before = text[from - 1];
  if (PAIRS[before] && text[from] === PAIRS[before]) {
    return { from: from - 1, to: from + 1, insert: "", select: [from - 1, from - 1] };
  }
  const lead = text.slice(startOfLine(text, from), from);
  if (lead.length < 2 || lead.trim() !== "" || lead.includes("\t")) return null;
  const step = lead.length % width || width;
  return { from: from - step, to: from, insert: "", select: [from - step, from - step] };
}

/** Ctrl+/: comment the touched lines out, or in again when all of them are comments. */
export function comment(text, from, to, mark) {
  const first = startOfLine(text, from);
  const stop = text.indexOf("\n", to > from ? to - 1 : to);
  const last = stop < 0 ? text.length : stop;
  const lines = text.slice(first, last).split("\n");
  const full = lines.filter((each) => each.trim());
  const all = full.length > 0 && full.every((each) => each.trimStart().startsWith(mark));
  const margin = Math.min(...full.map((each) => each.length - each.trimStart().length), 1e9);
  const insert = lines
    .map((each) => {
      if (!each.trim() && full.length) return each;
      if (all) return each.replace(new RegExp(`^(\\s*)${mark} ?`), "$1");
      const at = full.length ? margin : each.length;
      return `${each.slice(0, at)}${mark} ${each.slice(at)}`;
    })
    .join("\n");
  if (from !== to) return { from: first, to: last, insert, select: [first, first + insert.length] };
  const at = Math.max(first, from + insert.length - (last - first));
  return { from: first, to: last, insert, select: [at, at] };
}
