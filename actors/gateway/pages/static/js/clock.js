// Server time and countdowns. Pure except for `now` and `run`.

const HOUR = 3600;

/** "2d 03:04:05", "3:04:05" or "04:05" for a duration in milliseconds; never negative. */
export function duration(ms) {
  const all = Math.max(0, Math.ceil(ms / 1000));
  const days = Math.floor(all / (24 * HOUR));
  const hours = Math.floor((all % (24 * HOUR)) / HOUR);
  const two = (n) => String(n).padStart(2, "0");
  const tail = `${two(Math.floor((all % HOUR) / 60))}:${two(all % 60)}`;
  if (days) return `${days}d ${two(hours)}:${tail}`;
  return hours ? `${hours}:${tail}` : tail;
}

let offset = 0;

/** Learn the server's clock: it wrote `serverMs` when the page's first byte came. */
export function calibrate(serverMs) {
  const navigation = performance.getEntriesByType("navigation")[0];
  const arrived = performance.timeOrigin + (navigation?.responseStart ?? performance.now());
  offset = serverMs - arrived;
}

export function now() {
  return performance.timeOrigin + performance.now() + offset;
}

/** Drive every [data-countdown] and <progress data-from data-to> of the page; when one reaches its end the page is read again (spread over some seconds). */
export function run() {
  const clocks = [...document.querySelectorAll("[data-countdown]")];
  const bars = [...document.querySelectorAll("progress[data-from]")];
  if (!clocks.length && !bars.length) return;
  let done = false;
  const tick = () => {
    const at = now();
    for (const each of clocks) {
      const left = Number(each.dataset.countdown) - at;
      const text = duration(left);
      if (each.textContent !== text) each.textContent = text;
      if (left <= 0 && !done && each.dataset.armed) {
        done = true;
        setTimeout(() => location.reload(), 400 + Math.random() * 2600);
      } else if (left > 0) {
        each.dataset.armed = "1";
      }
    }
    for (const bar of bars) {
      const [from, to] = [Number(bar.dataset.from), Number(bar.dataset.to)];
      bar.value = Math.min(1, Math.max(0, (at - from) / (to - from)));
    }
    setTimeout(tick, 1000 - (now() % 1000) + 5);
  };
  tick();
}
