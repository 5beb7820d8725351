// What every page has: theme, menus, local times, signing out, and a session that stays fresh.

import { api, isSignedIn, refresh } from "./api.js";
import { calibrate, run } from "./clock.js";
import { toast } from "./dom.js";
import { write } from "./store.js";

const RENEW_MS = 7 * 60 * 1000; // the access cookie lasts 10 minutes
const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");

function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : dark.matches;
}

for (const button of document.querySelectorAll("[data-theme-toggle]")) {
  const say = () => button.setAttribute("aria-label", isDark() ? "Use the light theme" : "Use the dark theme");
  say();
  button.addEventListener("click", () => {
    const next = isDark() ? "light" : "dark";
    // Choosing what the system says anyway is following the system.
    const follows = next === (dark.matches ? "dark" : "light");
    if (follows) delete root.dataset.theme;
    else root.dataset.theme = next;
    write("theme", follows ? null : next);
    say();
  });
}

const menus = [...document.querySelectorAll("details.menu")];
document.addEventListener("click", (event) => {
  for (const menu of menus) if (menu.open && !menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of menus) {
    if (!menu.open) continue;
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

const formats = {
  moment: { dateStyle: "medium", timeStyle: "short" },
  day: { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" },
  time: { hour: "2-digit", minute: "2-digit" },
};

/** Show times in the reader's own zone; the server wrote them in UTC. */
export function localise(within = document) {
  for (const each of within.querySelectorAll("time[data-format]")) {
    const at = new Date(each.dateTime);
    each.textContent = new Intl.DateTimeFormat(navigator.language, formats[each.dataset.format]).format(at);
    each.title = at.toUTCString();
  }
}

for (const button of document.querySelectorAll("[data-signout]")) {
  button.addEventListener("click", async () => {
    try {
      await api(button.dataset.signout ? `auth/signout/${button.dataset.signout}` : "auth/signout", { method: "POST" });
    } catch (error) {
      if (error.status !== 401) return toast(error.message);
    }
    location.assign("/");
  });
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const text = document.getElementById(button.dataset.copy).textContent;
    try {
      await navigator.clipboard.writeText(text);
      toast("Copied", "check");
    } catch {
      getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
      toast("Selected: press Ctrl+C to copy");
    }
  });
}

if (isSignedIn()) {
  let last = performance.now();
  const renew = () => {
    if (document.hidden || performance.now() - last < RENEW_MS) return;
    last = performance.now();
    refresh().catch(() => null); // offline: the next request tries again
  };
  setInterval(renew, 30_000);
  document.addEventListener("visibilitychange", renew);
}

calibrate(Number(document.querySelector('meta[name="server-now"]').content));
localise();
run();
