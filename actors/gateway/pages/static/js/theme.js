// Runs before the first paint (a classic script in <head>): marks the page as scripted and applies the reader's theme, so that nothing flashes.
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  try {
    const theme = localStorage.getItem("cw:theme");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  } catch {
    // Storage is forbidden here: the system's theme stays.
  }
})();
