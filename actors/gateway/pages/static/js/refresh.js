// The page that an expired session passes through: a new session if the refresh cookie is good, else the same page as a stranger.

import { api, refresh } from "./api.js";

const main = document.querySelector("[data-next]");
const wanted = main.dataset.next;
const next = /^\/(?![/\\])/.test(wanted) ? wanted : "/";

// A browser that does not keep the new cookie would come back here for ever. Remembered per tab: two tabs that wake together are no loop.
const LOOP_MS = 10_000;
function comesBack() {
  try {
    const [path, at] = JSON.parse(sessionStorage.getItem("cw:refreshed") ?? "[]");
    sessionStorage.setItem("cw:refreshed", JSON.stringify([next, Date.now()]));
    return path === next && Date.now() - at < LOOP_MS;
  } catch {
    return false;
  }
}

try {
  if (!comesBack() && (await refresh())) {
    location.replace(next);
  } else {
    await api("auth/signout", { method: "POST" }).catch(() => null);
    location.replace(`/signin?next=${encodeURIComponent(next)}`);
  }
} catch (error) {
  main.querySelector("[data-words]").textContent = error.message;
  main.querySelector("[data-retry]").hidden = false;
}
