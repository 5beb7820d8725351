// Judging as it happens: a model that events change, and a view that shows it. Used by the problem page and by a submission's own page.

import { api } from "./api.js";
import { announce, balloon, calm, el, icon } from "./dom.js";
import { follow } from "./sse.js";

export const WORDS = {
  AC: "Accepted",
  WA: "Wrong answer",
  TLE: "Time limit exceeded",
  MLE: "Memory limit exceeded",
  OLE: "Output limit exceeded",
  RTE: "Run-time error",
  CE: "Compile error",
  JE: "Judge error",
};
const STEPS = ["queued", "compiling", "running", "judged"];
const STEP_WORDS = { queued: "Queued", compiling: "Compiling", running: "Running", judged: "Judged" };
const STATE_WORDS = { queued: "Waiting for a judge", compiling: "Compiling", running: "Running the tests" };
const CHIPS_MOST = 400;

export function memory(kb) {
  return kb >= 1024 ? `${(kb / 1024).toFixed(1)} MB` : `${kb} KB`;
}

export function verdictClass(verdict) {
  return `v v-${(verdict ?? "wait").toLowerCase()}`;
}

export function verdictBadge(verdict, state = "queued") {
  const words = verdict ? WORDS[verdict] : STEP_WORDS[state];
  return el("span", { class: `verdict ${verdictClass(verdict)}` }, icon(verdict ? verdict.toLowerCase() : "wait"), words);
}

/** What is known of a judging, changed by the stream's events. */
export function empty(state = "queued") {
  return { state, verdict: null, score: 0, tests: [], total: 0, compile_output: "", output: "", judge_error: "" };
}

/** A finer word for how far it is, from the tests seen. */
function summary(model) {
  const { tests, verdict } = model;
  if (!verdict) {
    if (model.state === "compiling") return "Your program is being built";
    if (model.state !== "running") return "It is safely stored";
    return model.total ? `${tests.length} of ${model.total} tests` : `${tests.length} tests`;
  }
  if (verdict === "CE") return "It does not count as an attempt";
  if (verdict === "JE") return "Our fault, never yours: it will be judged again";
  const cpu = Math.max(0, ...tests.map((each) => each.cpu_ms));
  const peak = Math.max(0, ...tests.map((each) => each.memory_kb));
  const parts = tests.length ? [`${cpu} ms`, memory(peak)] : [];
  const failed = tests.find((each) => each.verdict !== "AC");
  if (failed) parts.unshift(`on test ${failed.name || failed.number}`);
  else if (tests.length) parts.unshift(tests.length === 1 ? "1 test" : `all ${tests.length} tests`);
  return parts.join(" · ");
}

function describe(test) {
  return `Test ${test.number}: ${WORDS[test.verdict]}, ${test.cpu_ms} ms, ${memory(test.memory_kb)}`;
}

/** Shows a model inside `root`, touching only what changed, so that chips pop in and nothing flickers. */
export class JudgingView {
  /** `points` shows the score; `accepted` replaces that word for a run, which is not a submission. */
  constructor(root, { points = false, accepted = WORDS.AC } = {}) {
    this.root = root;
    this.points = points;
    this.wordsOf = { ...WORDS, AC: accepted };
    this.icon = el("span", { class: "icon-slot" });
    this.words = el("strong", { class: "judging-words" });
    this.more = el("span", { class: "judging-more" });
    this.score = el("span", { class: "points" });
    this.steps = el("ol", { class: "steps", "aria-label": "Progress" }, STEPS.map((step) => el("li", {}, STEP_WORDS[step])));
    this.chips = el("ol", { class: "chips", "aria-label": "Tests" });
    this.rows = el("tbody");
    this.table = el(
      "details",
      { class: "tests" },
      el("summary", {}, "Every test"),
      el(
        "div",
        { class: "table-box" },
        el(
          "table",
          { class: "table" },
          el("thead", {}, el("tr", {}, ["Test", "Verdict", "CPU", "Wall", "Memory"].map((each) => el("th", { scope: "col" }, each)))),
          this.rows,
        ),
      ),
    );
    this.output = el("div", { class: "outputs" });
    this.head = el("div", { class: "judging-head" }, this.icon, el("div", {}, this.words, this.more), this.score);
    root.replaceChildren(this.head, this.steps, this.chips, this.table, this.output);
    this.shown = 0;
    this.verdict = undefined;
  }

  show(model) {
    const { root } = this;
    const landed = model.verdict && this.verdict === null;
    root.className = `judging ${verdictClass(model.verdict)}${landed ? " is-landed" : ""}`;
    if (this.verdict !== model.verdict) this.icon.replaceChildren(icon(model.verdict ? model.verdict.toLowerCase() : "wait"));
    this.words.textContent = model.verdict ? this.wordsOf[model.verdict] : STATE_WORDS[model.state] ?? "Judged";
    this.more.textContent = summary(model);
    this.score.textContent = this.points && model.verdict ? `${model.score} points` : "";
    this.showSteps(model);
    this.showTests(model);
    this.showOutput(model);
    if (landed) announce(`${this.wordsOf[model.verdict]}. ${summary(model)}`);
    else if (this.verdict === undefined && !model.verdict) announce(STATE_WORDS[model.state] ?? "");
    this.verdict = model.verdict;
  }

  showSteps(model) {
    const at = model.verdict ? STEPS.length : STEPS.indexOf(model.state);
    this.steps.hidden = Boolean(model.verdict);
    [...this.steps.children].forEach((step, i) => {
      step.className = i < at ? "is-done" : i === at ? "is-now" : "";
      if (i === at) step.setAttribute("aria-current", "step");
      else step.removeAttribute("aria-current");
    });
  }

  showTests(model) {
    if (model.tests.length < this.shown) {
      this.chips.replaceChildren();
      this.rows.replaceChildren();
      this.shown = 0;
    }
    while (this.chips.lastChild?.classList.contains("chip-todo")) this.chips.lastChild.remove();
    for (const test of model.tests.slice(this.shown)) {
      if (this.chips.children.length < CHIPS_MOST) this.chips.append(chip(test));
      this.rows.append(testRow(test));
    }
    this.shown = model.tests.length;
    const left = model.verdict ? 0 : Math.min(model.total - this.shown, CHIPS_MOST - this.shown);
    for (let i = 0; i < left; i++) this.chips.append(todo(this.shown + i + 1));
    this.chips.hidden = !this.chips.children.length;
    this.table.hidden = !this.shown;
  }

  showOutput(model) {
    const parts = [
      [model.verdict === "CE" ? "What the compiler says" : "Compiler's notes", model.compile_output],
      ["Output", model.output],
      ["For staff: what went wrong", model.judge_error],
    ].filter(([, text]) => text);
    const key = JSON.stringify(parts);
    if (key === this.outputKey) return;
    this.outputKey = key;
    this.output.hidden = !parts.length;
    this.output.replaceChildren(
      ...parts.map(([title, text]) =>
        el("section", {}, el("h3", { class: "out-head" }, title), el("pre", { class: "out", tabindex: "0" }, text)),
      ),
    );
  }
}

function chip(test) {
  const name = test.verdict === "AC" ? "check" : test.verdict === "WA" ? "cross" : test.verdict.toLowerCase();
  return el(
    "li",
    { class: `chip is-new ${verdictClass(test.verdict)}`, title: describe(test) },
    icon(name),
    el("span", { "aria-hidden": "true" }, String(test.number)),
    el("span", { class: "sr" }, describe(test)),
  );
}

function todo(number) {
  return el("li", { class: "chip chip-todo" }, el("span", { "aria-hidden": "true" }, "·"), String(number));
}

function testRow(test) {
  return el(
    "tr",
    {},
    el("td", { class: "mono" }, String(test.number)),
    el("td", {}, verdictBadge(test.verdict)),
    el("td", { class: "mono" }, `${test.cpu_ms} ms`),
    el("td", { class: "mono" }, `${test.wall_ms} ms`),
    el("td", { class: "mono" }, memory(test.memory_kb)),
  );
}

/** Follow a judging until its verdict. `base` is "submissions" or "runs" (both are streamed as submissions). Calls onDone(model) once. Returns a function that stops following. */
export function watch(base, id, view, { model = empty(), onDone = () => {} } = {}) {
  let over = false;
  const seen = new Set(model.tests.map((each) => each.number));
  view.show(model);

  const finish = async () => {
    if (over) return;
    over = true;
    stop();
    try {
      Object.assign(model, full(await api(`${base}/${id}`)));
    } catch {
      // The verdict itself is known; what the compiler said can be read after a reload.
    }
    view.show(model);
    onDone(model);
  };

  const stop = follow(
    `/api/v1/submissions/${id}/stream`,
    {
      state(step) {
        if (step.state === "compiling" || step.state === "queued") restart(model, seen);
        model.state = step.state;
        if (step.tests_total) model.total = step.tests_total;
        view.show(model);
      },
      test(step) {
        if (step.tests_total) model.total = step.tests_total;
        model.state = "running";
        if (!seen.has(step.number)) {
          seen.add(step.number);
          model.tests = [...model.tests, step].sort((a, b) => a.number - b.number);
        }
        view.show(model);
      },
      reset() {
        restart(model, seen);
      },
      verdict(step) {
        model.verdict = step.verdict;
        model.state = "judged";
        if (step.score !== undefined) model.score = step.score;
        finish();
      },
    },
    () => {},
  );
  return () => {
    over = true;
    stop();
  };
}

/** A judge that died is followed by another, which begins again. */
function restart(model, seen) {
  model.tests = [];
  seen.clear();
}

/** The API's submission as a model. */
export function full(answer) {
  return {
    state: answer.state,
    verdict: answer.verdict ?? null,
    score: answer.score ?? 0,
    tests: answer.tests ?? [],
    total: answer.tests_total ?? answer.tests?.length ?? 0,
    compile_output: answer.compile_output ?? "",
    output: answer.output ?? "",
    judge_error: answer.judge_error ?? "",
  };
}

/** A balloon goes up. */
export function release(colourClass) {
  if (calm.matches) return;
  const box = el("div", { class: "release", "aria-hidden": "true" }, balloon(colourClass));
  box.addEventListener("animationend", (event) => event.target === box && box.remove());
  document.body.append(box);
}
