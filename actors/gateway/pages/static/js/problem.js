// The problem page: editor, drafts, run, submit, results.

import { api, idempotencyKey, isSignedIn } from "./api.js";
import { el, toast } from "./dom.js";
import { Editor } from "./editor.js";
import { empty, JudgingView, release, watch } from "./judging.js";
import { languageOf, starter } from "./starters.js";
import { read, write } from "./store.js";

const DRAFT_MS = 400;
const work = document.querySelector("[data-work]");
const { problem, contest, colour, rules } = work.dataset;
const sourceMost = Number(work.dataset.sourceLimit) * 1024;
const picker = document.getElementById("language");
const input = document.getElementById("stdin");
const panes = { result: document.getElementById("pane-result"), input: document.getElementById("pane-input") };
const draftNote = document.querySelector("[data-draft]");
const buttons = { run: document.querySelector("[data-run]"), submit: document.querySelector("[data-submit]") };
const narrow = matchMedia("(max-width: 60rem)");

// ---- drafts ----

const draftKey = (language) => `draft:${problem}:${language}`;
let saving = 0;

function saveDraft() {
  clearTimeout(saving);
  saving = 0;
  const same = editor.value === starter(picker.value) || editor.value === "";
  const kept = write(draftKey(picker.value), same ? null : editor.value);
  draftNote.textContent = same ? "" : kept ? "Draft kept on this device" : "Draft cannot be kept here";
}

const editor = new Editor(document.querySelector(".work-code .ed"), {
  onChange() {
    clearTimeout(saving);
    draftNote.textContent = "";
    saving = setTimeout(saveDraft, DRAFT_MS);
  },
  onSubmit: (shift) => (shift ? run() : submit()),
});

function load(language) {
  const draft = read(draftKey(language));
  editor.set(draft ?? starter(language), language);
  draftNote.textContent = draft ? "Draft kept on this device" : "";
}

addEventListener("pagehide", () => saving && saveDraft());
const remembered = read("language");
if (remembered && [...picker.options].some((option) => option.value === remembered)) picker.value = remembered;
const early = editor.value; // typed or pasted while this script was still on its way: the contestant's, so it stays
const { selectionStart, selectionEnd } = editor.text;
load(picker.value);
if (early && early !== editor.value) {
  editor.replace(early, [selectionStart, selectionEnd]);
  if (read(draftKey(picker.value))) toast("What you wrote while the page was loading is in the editor. Ctrl+Z brings your draft back.", "reset");
}
let current = picker.value;
picker.addEventListener("change", () => {
  const chosen = picker.value;
  if (saving) {
    picker.value = current; // the draft belongs to the language it was written in
    saveDraft();
    picker.value = chosen;
  }
  current = chosen;
  write("language", chosen);
  load(chosen);
});

document.querySelector("[data-reset]").addEventListener("click", () => {
  editor.replace(starter(picker.value));
  toast("Back to the start. Ctrl+Z brings your code back.", "reset");
});

// ---- files ----

async function take(file) {
  if (!file) return;
  if (file.size > sourceMost) return toast(`${file.name} is larger than ${sourceMost / 1024} KB, the most a source file may have.`);
  const text = (await file.text()).replace(/\r\n?/g, "\n");
  if (text.includes("\0")) return toast(`${file.name} is not a text file.`);
  const language = languageOf(file.name);
  if (language && [...picker.options].some((option) => option.value === language) && language !== picker.value) {
    if (saving) saveDraft();
    picker.value = current = language;
    load(language);
  }
  editor.replace(text);
  toast(`${file.name} is in the editor`, "check");
}

const upload = document.getElementById("upload");
document.querySelector("[data-upload]").addEventListener("click", () => upload.click());
upload.addEventListener("change", () => {
  take(upload.files[0]);
  upload.value = "";
});
const hasFile = (event) => event.dataTransfer?.types.includes("Files");
editor.box.addEventListener("dragover", (event) => {
  if (!hasFile(event)) return;
  event.preventDefault();
  editor.box.classList.add("is-drop");
});
editor.box.addEventListener("dragleave", () => editor.box.classList.remove("is-drop"));
editor.box.addEventListener("drop", (event) => {
  editor.box.classList.remove("is-drop");
  if (!hasFile(event)) return;
  event.preventDefault();
  take(event.dataTransfer.files[0]);
});

// ---- tabs ----

/** Make a tablist work: click, arrow keys, Home, End. */
function tablist(list, onChoose) {
  const tabs = [...list.querySelectorAll('[role="tab"]')];
  const choose = (tab, focus) => {
    for (const each of tabs) {
      each.setAttribute("aria-selected", String(each === tab));
      each.tabIndex = each === tab ? 0 : -1;
    }
    if (focus) tab.focus();
    onChoose(tab.dataset.tab);
  };
  list.addEventListener("click", (event) => {
    const tab = event.target.closest('[role="tab"]');
    if (tab) choose(tab);
  });
  list.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    choose(tabs[(to + tabs.length) % tabs.length], true);
  });
  return (name) => choose(tabs.find((each) => each.dataset.tab === name));
}

const showTab = tablist(document.querySelector(".work-tabs"), (name) => (work.dataset.tab = name));
const showPane = tablist(document.querySelector("[data-panes]"), (name) => {
  for (const [key, pane] of Object.entries(panes)) pane.hidden = key !== name;
  if (narrow.matches && work.dataset.tab === "code" && name === "input") showTab("result");
});

// ---- the splitter ----

const split = document.querySelector(".work-split");

function setSplit(percent) {
  const value = Math.min(65, Math.max(28, Math.round(percent)));
  work.style.setProperty("--split", `${value}%`);
  split.setAttribute("aria-valuenow", String(value));
  write("split", String(value));
}

if (read("split")) setSplit(Number(read("split")) || 46);
split.addEventListener("pointerdown", (event) => {
  split.setPointerCapture(event.pointerId);
  const move = (at) => setSplit((at.clientX / innerWidth) * 100);
  split.addEventListener("pointermove", move);
  split.addEventListener("lostpointercapture", () => split.removeEventListener("pointermove", move), { once: true });
});
split.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -2, ArrowRight: 2 }[event.key];
  if (!step) return;
  event.preventDefault();
  setSplit(Number(split.getAttribute("aria-valuenow")) + step);
});

// ---- run and submit ----

let stop = () => {};

function fail(error) {
  const details = [...error.fields.values()];
  panes.result.replaceChildren(
    el("p", { class: "note note-bad", role: "alert" }, details.length ? details.join(" ") : error.message),
  );
}

function check() {
  if (!isSignedIn()) {
    saveDraft();
    location.assign(`/signin?next=${encodeURIComponent(location.pathname)}`);
    return false;
  }
  if (!editor.value.trim()) {
    toast("There is nothing to judge yet: write some code first.");
    return false;
  }
  if (new Blob([editor.value]).size > sourceMost) {
    toast(`Your source is larger than ${sourceMost / 1024} KB.`);
    return false;
  }
  return true;
}

async function send(button, path, body, begin) {
  if (button.disabled || !check()) return;
  saveDraft();
  for (const each of Object.values(buttons)) each.disabled = true;
  button.setAttribute("aria-busy", "true");
  stop();
  showPane("result");
  if (narrow.matches) showTab("result");
  try {
    begin(await api(path, { method: "POST", body, headers: { "idempotency-key": idempotencyKey() } }));
  } catch (error) {
    fail(error);
  } finally {
    for (const each of Object.values(buttons)) each.disabled = false;
    button.removeAttribute("aria-busy");
  }
}

function panel(title, link) {
  const root = el("div", { class: "judging v v-wait" });
  panes.result.replaceChildren(
    el("div", { class: "result-head" }, el("h2", { class: "out-head" }, title), link ? el("a", { href: link }, "Open its page") : null),
    root,
  );
  return root;
}

function common() {
  const body = { problem_id: problem, language: picker.value, source: editor.value };
  return contest ? { ...body, contest_id: contest } : body;
}

function submit() {
  return send(buttons.submit, "submissions", common(), ({ submission_id: id }) => {
    const view = new JudgingView(panel("Submission", `/submissions/${id}`), { points: rules === "ioi" });
    stop = watch("submissions", id, view, {
      model: empty(),
      onDone(model) {
        if (model.verdict !== "AC") return;
        release(colour);
        document.querySelector(".problem-title .balloon")?.classList.remove("balloon-hollow");
      },
    });
  });
}

function run() {
  const own = !panes.input.hidden && input.value !== "" ? input.value : null;
  const body = own === null ? common() : { ...common(), stdin: own };
  return send(buttons.run, "runs", body, ({ run_id: id }) => {
    const [title, accepted] = own === null ? ["Run on the samples", "The samples pass"] : ["Run on your input", "Ran to its end"];
    stop = watch("runs", id, new JudgingView(panel(title), { accepted }), { model: empty() });
  });
}

buttons.submit.addEventListener("click", submit);
buttons.run.addEventListener("click", run);
for (const each of Object.values(buttons)) each.disabled = false; // until here, a click would have done nothing
