// Standings as pure functions. The order is contracts/scoring.py's: ICPC by solved (more first), penalty (less first), second of the last accepted (earlier
// first); IOI by points alone. rank = number of rows strictly better + 1; equals stand in order of their identifiers.

/** Negative when `a` stands strictly before `b`, 0 when they share a rank. */
export function compare(rules, a, b) {
  if (rules === "ioi") return b.score - a.score;
  return b.score - a.score || a.penalty - b.penalty || Math.floor(a.last_ms / 1000) - Math.floor(b.last_ms / 1000);
}

/** Return the rows sorted, with ranks that start at `first` (the rank of the window's first place when nobody outside it shares it). */
export function rerank(rules, rows, first = 1) {
  const sorted = [...rows].sort(
    (a, b) => compare(rules, a, b) || (a.user_id < b.user_id ? -1 : a.user_id > b.user_id ? 1 : 0),
  );
  let rank = first;
  return sorted.map((row, place) => {
    if (place > 0 && compare(rules, sorted[place - 1], row) !== 0) rank = first + place;
    return row.rank === rank ? row : { ...row, rank };
  });
}

/**
 * Put a changed row into a window of a board: rows `offset`… of `total`, at most `limit`.
 * Returns `{ rows, total, complete }`; `complete` false says that rows outside the window are needed to be right: read the page again.
 */
export function merge(board, row, total = board.total) {
  const known = board.rows.some((each) => each.user_id === row.user_id);
  const whole = board.offset === 0 && board.rows.length >= board.total;
  const others = board.rows.filter((each) => each.user_id !== row.user_id);
  if (whole && total <= board.limit && total === others.length + 1) {
    return { rows: rerank(board.rules, [...others, row]), total, complete: true };
  }
  const first = board.offset + 1;
  const last = board.offset + board.rows.length;
  const inside = row.rank >= first && row.rank <= last;
  if (!known) {
    // It passed through the window, or came in from below: somebody else's place changed, and who leaves is only known to the server.
    const touches = row.rank <= last || board.rows.length < board.limit;
    return { rows: board.rows, total, complete: !touches };
  }
  if (!inside) return { rows: board.rows, total, complete: false };
  const base = Math.min(board.rows[0].rank, row.rank);
  return { rows: rerank(board.rules, [...others, row], base), total, complete: total === board.total };
}

/** A board's version as a short mark ("#k3f9"), as `present.mark_of` has it: nobody compares 13 digits by eye. */
export function markOf(version) {
  return `#${version.toString(36).padStart(4, "0").slice(-4)}`;
}

/** Whether a change is news: versions only rise, and after a new epoch a snapshot comes first. */
export function isNews(board, change) {
  return change.version > board.version;
}

/** The first solver of each problem, by problem: Map problem → user. Only meaningful with every row at hand. */
export function firsts(rows) {
  const best = new Map();
  for (const row of rows) {
    for (const [problem, cell] of Object.entries(row.cells)) {
      if (!cell.solved || cell.time_ms < 0) continue;
      const seen = best.get(problem);
      if (!seen || cell.time_ms < seen.time_ms) best.set(problem, { time_ms: cell.time_ms, user: row.user_id });
    }
  }
  return new Map([...best].map(([problem, each]) => [problem, each.user]));
}

/** "1:07" for a contest time: hours and minutes. */
export function contestTime(ms) {
  const minutes = Math.floor(ms / 60000);
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}`;
}

/** Points with at most two decimals: 100 → "100", 33.5 → "33.5". */
export function points(score) {
  return String(Math.round(score * 100) / 100);
}

/** What a cell shows: `{ kind, main, sub, words }`, or null when there is nothing in it. */
export function describe(rules, cell, { first = false, full = 100 } = {}) {
  if (!cell) return null;
  const tries = `${cell.attempts} ${cell.attempts === 1 ? "try" : "tries"}`;
  const pending = cell.pending ? `, ${cell.pending} waiting` : "";
  if (rules === "ioi") {
    if (!cell.attempts && !cell.pending) return null;
    if (!cell.attempts) return { kind: "pending", main: "?", sub: "", words: `${cell.pending} waiting` };
    const kind = cell.solved || cell.score >= full ? "solved" : cell.score > 0 ? "partial" : "tried";
    const sub = cell.pending ? `+${cell.pending}?` : "";
    return { kind, main: points(cell.score), sub, words: `${points(cell.score)} points, ${tries}${pending}` };
  }
  if (cell.solved) {
    const wrong = cell.attempts - 1;
    const words = `Solved at ${contestTime(cell.time_ms)} with ${tries}${first ? ", first to solve" : ""}`;
    return { kind: first ? "first" : "solved", main: contestTime(cell.time_ms), sub: wrong ? `+${wrong}` : "", words };
  }
  if (cell.pending) {
    const sub = cell.attempts ? `${cell.attempts}+${cell.pending}` : cell.pending > 1 ? String(cell.pending) : "";
    return { kind: "pending", main: "?", sub, words: `${cell.pending} waiting, ${tries} before` };
  }
  return cell.attempts ? { kind: "tried", main: `−${cell.attempts}`, sub: "", words: `${tries}, not solved` } : null;
}
