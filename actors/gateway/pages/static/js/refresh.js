// The page that an expired session passes through: a new session if the refresh cookie is good, else the same page as a stranger.

import { api, refresh } from "./api.js";

const main = document.querySelector("[data-next]");
const wanted = main.dataset.next;
const next = /^\/(?![/\\])/.test(wanted) ? wanted : "/";

try {
  if (await refresh()) {
    location.replace(next);
  } else {
    await api("auth/signout", { method: "POST" }).catch(() => null);
    location.replace(`/signin?next=${encodeURIComponent(next)}`);
  }
} catch (error) {
  main.querySelector("[data-words]").textContent = error.message;
  main.querySelector("[data-retry]").hidden = false;
}
