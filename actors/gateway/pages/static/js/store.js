// localStorage that may be forbidden or full: reading then finds nothing, and writing says that it failed.

export function read(key) {
  try {
    return localStorage.getItem(`cw:${key}`);
  } catch {
    return null;
  }
}

export function write(key, value) {
  try {
    if (value === null) localStorage.removeItem(`cw:${key}`);
    else localStorage.setItem(`cw:${key}`, value);
    return true;
  } catch {
    return false;
  }
}
