// The decision about a kept frame: the field of a part that a person opens, or that the page leaves open, has the focus.
"use strict";
{
  // "toggle" does not bubble.
  document.addEventListener("toggle", (event) => {
    if (!event.target.matches(".decision details") || !event.target.open) return;
    event.target.querySelector("input:not([type=hidden])").focus();
  }, true);

  document.addEventListener("htmx:afterSwap", () => {
    const typed = document.querySelector(".decide details.other[open] input[name=q]");
    if (typed && document.activeElement === document.body) typed.focus();
  });
}
