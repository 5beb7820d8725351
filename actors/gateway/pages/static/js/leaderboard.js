// The live standings: rows arrive by SSE, take their place, and everybody sees who passed whom.

import { api } from "./api.js";
import { describe, firsts, isNews, markOf, merge, points } from "./board.js";
import { announce, calm, el } from "./dom.js";
import { follow, showState } from "./sse.js";

const SETTLE_MS = 250; // changes that come together move together
const REREAD_MS = 1500;
const MOVE_MS = 650;

const page = document.querySelector("[data-board]");
const table = page.querySelector("table.board");
const body = table.tBodies[0];
const { contest, rules, me } = page.dataset;
const problems = [...table.querySelectorAll("th[data-problem]")].map((th) => ({
  id: th.dataset.problem,
  label: th.dataset.label,
  colour: th.dataset.colour,
  full: Number(th.dataset.points),
}));

const board = {
  rules,
  rows: [],
  offset: Number(page.dataset.offset),
  limit: Number(page.dataset.limit),
  total: Number(page.dataset.total),
  version: -1,
  frozen: page.dataset.frozen === "true",
};
const shown = new Map([...body.rows].filter((tr) => tr.dataset.user).map((tr) => [tr.dataset.user, { tr, key: "" }]));
const changed = new Set();
let settling = 0;
let rereading = 0;

function cellNode(problem, cell, first) {
  const td = el("td", { class: `col-cell ${problem.colour}` });
  const what = describe(rules, cell, { first, full: problem.full });
  if (what) {
    td.append(
      el(
        "div",
        { class: `cell cell-${what.kind}`, title: `${problem.label}: ${what.words}` },
        el("b", {}, what.main),
        what.sub ? el("small", {}, what.sub) : null,
        el("span", { class: "sr" }, what.words),
      ),
    );
  }
  return td;
}

function rowCells(row, first) {
  const mine = row.user_id === me;
  return [
    el("td", { class: "col-rank" }, String(row.rank)),
    el("th", { class: "col-name", scope: "row", title: row.username }, row.username, mine ? el("span", { class: "you" }, "you") : null),
    el("td", { class: "col-score" }, rules === "ioi" ? points(row.score) : String(row.score)),
    rules === "ioi" ? null : el("td", { class: "col-penalty" }, String(row.penalty)),
    ...problems.map((problem) => cellNode(problem, row.cells[problem.id], first.get(problem.id) === row.user_id)),
  ].filter(Boolean);
}

/** First, Last, Invert, Play: rows glide from where they were to where they are. */
function glide(before) {
  for (const [user, top] of before) {
    const tr = shown.get(user)?.tr;
    if (!tr?.isConnected) continue;
    const by = top - tr.getBoundingClientRect().top;
    if (Math.abs(by) < 2) continue;
    tr.classList.add("is-moving");
    tr.animate([{ transform: `translateY(${by}px)` }, { transform: "none" }], {
      duration: MOVE_MS,
      easing: "cubic-bezier(0.2, 0.8, 0.2, 1)",
    }).onfinish = () => tr.classList.remove("is-moving");
  }
}

function draw() {
  const whole = board.offset === 0 && board.rows.length >= board.total;
  const first = whole && rules === "icpc" ? firsts(board.rows) : new Map();
  const moves = !calm.matches && !document.hidden;
  const before = moves ? [...shown].map(([user, { tr }]) => [user, tr.getBoundingClientRect().top]) : [];
  const wanted = new Set(board.rows.map((row) => row.user_id));
  for (const [user, { tr }] of shown) {
    if (wanted.has(user)) continue;
    tr.remove();
    shown.delete(user);
  }
  for (const tr of [...body.rows]) if (!tr.dataset.user) tr.remove();
  let next = body.firstElementChild;
  for (const row of board.rows) {
    const key = JSON.stringify([row, problems.map((each) => first.get(each.id) === row.user_id)]);
    let entry = shown.get(row.user_id);
    if (!entry) {
      entry = { tr: el("tr", { "data-user": row.user_id, class: row.user_id === me ? "is-me" : null }), key: "" };
      shown.set(row.user_id, entry);
    }
    if (entry.key !== key) {
      entry.tr.replaceChildren(...rowCells(row, first));
      entry.key = key;
    }
    if (entry.tr === next) next = next.nextElementSibling;
    else body.insertBefore(entry.tr, next);
  }
  if (moves) glide(before);
  for (const user of changed) flash(shown.get(user)?.tr);
  changed.clear();
  page.querySelector("[data-empty]").hidden = board.rows.length > 0;
  const mark = page.querySelector("[data-version]");
  mark.textContent = markOf(board.version);
  mark.title = `Whoever sees the same mark sees the same standings (version ${board.version})`;
  page.querySelector("[data-total]").textContent = String(board.total);
  page.classList.toggle("is-frozen", board.frozen);
  page.querySelector("[data-frozen-note]").hidden = !board.frozen;
}

function flash(tr) {
  if (!tr) return;
  tr.classList.remove("is-changed");
  void tr.offsetWidth; // starts the animation afresh
  tr.classList.add("is-changed");
  setTimeout(() => tr.classList.remove("is-changed"), 2000);
}

function settle() {
  if (settling) return;
  settling = setTimeout(() => {
    settling = 0;
    draw();
  }, SETTLE_MS);
}

function take(view) {
  board.rows = view.rows;
  board.total = view.total;
  board.version = view.version;
  board.frozen = view.frozen;
}

/** What changed lies partly outside of this page of the board: read the page again, once for many changes. */
function reread() {
  if (rereading) return;
  rereading = setTimeout(
    async () => {
      try {
        const view = await api(`leaderboard/${contest}?offset=${board.offset}&limit=${board.limit}`);
        if (view.version >= board.version) take(view);
        draw();
      } catch {
        // Shown by the live mark: the stream's own reconnect brings a snapshot.
      } finally {
        rereading = 0;
      }
    },
    REREAD_MS * (0.6 + Math.random() * 0.8),
  );
}

function tell(row, before) {
  if (row.user_id === me && before && row.rank !== before.rank) announce(`You are now in place ${row.rank}`);
}

follow(
  `/api/v1/leaderboard/stream/${contest}`,
  {
    snapshot(view) {
      const fits = view.offset === board.offset && view.rows.length >= Math.min(board.limit, view.total - board.offset);
      if (fits) {
        take({ ...view, rows: view.rows.slice(0, board.limit) });
        draw();
      } else {
        board.total = view.total;
        board.version = view.version; // what was shown before may have been newer than what is true
        reread();
      }
    },
    update(change) {
      if (!isNews(board, change)) return;
      board.version = change.version;
      if (!change.row) return reread();
      const before = board.rows.find((each) => each.user_id === change.row.user_id);
      const merged = merge(board, change.row, change.total);
      board.rows = merged.rows;
      board.total = merged.total;
      changed.add(change.row.user_id);
      tell(change.row, before);
      if (!merged.complete) reread();
      settle();
    },
    reset() {
      board.version = -1;
    },
  },
  showState(page.querySelector(".live")),
);
