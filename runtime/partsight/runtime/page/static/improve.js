// Improve: a form that takes long is sent once, and says that it was.
"use strict";
document.addEventListener("submit", (event) => {
  const text = event.target.dataset.once;
  const button = event.target.querySelector("button");
  if (!text || !button) return;
  setTimeout(() => { button.disabled = true; button.dataset.text = button.textContent; button.textContent = text; });
});

// The browser may show the page again from its memory, as it was when the form was sent.
window.addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("button[data-text]")) {
    button.disabled = false;
    button.textContent = button.dataset.text;
    delete button.dataset.text;
  }
});

// What a button opens must not stay below the edge of the screen; `toggle` does not bubble.
document.addEventListener("toggle", (event) => {
  if (event.target.open && event.target.matches(".improve-swap")) event.target.scrollIntoView({ block: "nearest" });
}, true);
