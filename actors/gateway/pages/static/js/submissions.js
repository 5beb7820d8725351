// My submissions: rows that wait for a verdict get it by themselves; the filters apply as they are chosen.

import { api } from "./api.js";
import { announce } from "./dom.js";
import { follow } from "./sse.js";
import { verdictBadge, WORDS } from "./judging.js";

const STREAMS_MOST = 4; // browsers allow few connections per site; the others are followed as these end
const waiting = [...document.querySelectorAll("tr[data-waiting]")];

function next() {
  const tr = waiting.shift();
  if (!tr) return;
  const id = tr.dataset.waiting;
  const place = tr.querySelector("[data-verdict]");
  const stop = follow(`/api/v1/submissions/${id}/stream`, {
    state: (step) => step.state !== "judged" && place.replaceChildren(verdictBadge(null, step.state)),
    test: () => place.dataset.running || ((place.dataset.running = "1"), place.replaceChildren(verdictBadge(null, "running"))),
    async verdict(step) {
      stop();
      place.replaceChildren(verdictBadge(step.verdict));
      announce(`${tr.dataset.title}: ${WORDS[step.verdict]}`);
      next();
      const score = tr.querySelector("[data-score]");
      if (score) await api(`submissions/${id}`).then((full) => (score.textContent = String(full.score)), () => null);
    },
  });
}

for (let i = 0; i < STREAMS_MOST; i++) next();

for (const select of document.querySelectorAll("form[data-filters] select")) {
  select.addEventListener("change", () => {
    for (const each of select.form.elements) if (each.name && !each.value) each.disabled = true;
    select.form.submit();
  });
}
