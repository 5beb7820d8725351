// An EventSource that says how it is doing, comes back from refusals too, and rests while the page is in the back/forward cache.

import { api, isSignedIn } from "./api.js";

const FIRST_MS = 1000;
const MOST_MS = 30000;

/**
 * Follow a stream. `handlers` maps an event's name to a function of its decoded data; `onState` hears "connecting", "open" and "waiting".
 * Returns a function that ends it.
 */
export function follow(url, handlers, onState = () => {}) {
  let source = null;
  let timer = 0;
  let wait = FIRST_MS;
  let ended = false;

  const open = () => {
    source = new EventSource(url);
    source.onopen = () => {
      wait = FIRST_MS;
      onState("open");
    };
    source.onerror = () => {
      if (ended) return;
      onState("waiting");
      // A broken connection is tried again by the browser itself; a refusal (401, 503) is final to it, so that one is ours.
      if (source.readyState === EventSource.CLOSED) again();
    };
    for (const [name, handle] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => handle(JSON.parse(event.data), event));
    }
  };

  const again = () => {
    clearTimeout(timer);
    timer = setTimeout(
      async () => {
        if (isSignedIn()) await api("auth/me").catch(() => null); // refreshes an expired session
        if (!ended) open();
      },
      wait * (0.5 + Math.random()),
    );
    wait = Math.min(wait * 2, MOST_MS);
  };

  const rest = () => {
    clearTimeout(timer);
    source?.close();
  };
  const wake = (event) => {
    if (event.persisted && !ended) open();
  };

  addEventListener("pagehide", rest);
  addEventListener("pageshow", wake);
  onState("connecting");
  open();
  return () => {
    ended = true;
    rest();
    removeEventListener("pagehide", rest);
    removeEventListener("pageshow", wake);
  };
}

/** Show a stream's state in a `.live` element. */
export function showState(element) {
  const words = { connecting: "Connecting", open: "Live", waiting: "Reconnecting" };
  return (state) => {
    element.dataset.state = state;
    element.querySelector("[data-words]").textContent = words[state];
  };
}
