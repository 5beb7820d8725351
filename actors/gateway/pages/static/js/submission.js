// A submission's own page: its source in colours, and its judging live until there is a verdict.

import { Painter } from "./highlight.js";
import { empty, full, JudgingView, watch } from "./judging.js";

const root = document.querySelector("[data-judging]");
const { id, language } = root.dataset;

const source = document.getElementById("source");
new Painter(source).paint(source.textContent.replace(/\n$/, ""), language);

if (root.dataset.judged !== "true") {
  const known = full(JSON.parse(root.dataset.model));
  watch("submissions", id, new JudgingView(root, { points: root.dataset.rules === "ioi" }), {
    model: { ...empty(), ...known },
    onDone: () => root.setAttribute("data-judged", "true"),
  });
}
