// The reader's own choice of light or dark, before anything is drawn. Without it, the system's choice holds.
"use strict";

try {
  const theme = localStorage.getItem("theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is blocked: the system's choice holds.
}
