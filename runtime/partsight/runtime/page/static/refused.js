// The screen "refused": a person decides by keyboard. The keys act on the card that has the focus.
"use strict";
{
  const cards = () => [...document.querySelectorAll(".kept")];
  const decided = []; // cards, in the order of the decisions

  const press = (card, key) => {
    const button = card.querySelector(`[data-key="${key}"]`);
    if (button) button.click();
  };

  const open = (card, kind) => {
    const details = card.querySelector(`details.${kind}`);
    if (!details) return;
    details.open = true;
    details.querySelector("input:not([type=hidden])").focus();
  };

  const move = (card, key) => {
    const all = cards();
    const columns = Math.max(1, all.filter((other) => other.offsetTop === all[0].offsetTop).length);
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[key];
    const next = all[card ? all.indexOf(card) + step : 0];
    if (next) next.focus();
  };

  const undo = (card) => {
    const last = card && card.querySelector('[data-key="u"]') ? card : decided.pop();
    if (!last) return;
    last.focus();
    press(last, "u");
  };

  const act = (event, card) => {
    if (event.key.startsWith("Arrow")) move(card, event.key);
    else if (event.key === "u" || event.key === "U") undo(card);
    else if (card && event.key === "Enter" && event.target === card) press(card, "confirm");
    else if (card && /^[dD]$/.test(event.key)) press(card, "d");
    else if (card && /^[tT]$/.test(event.key)) press(card, "t");
    else if (card && /^[nN]$/.test(event.key)) open(card, "new");
    else if (card && /^[oO]$/.test(event.key)) open(card, "other");
    else return false;
    return true;
  };

  // Arrows in the search go to the labels that it found, and back.
  const walk = (event) => {
    const form = event.target.closest("details.other form");
    if (!form || !["ArrowDown", "ArrowUp"].includes(event.key)) return false;
    const stops = [form.querySelector('input[name="q"]'), ...form.querySelectorAll(".choice")];
    const next = stops[stops.indexOf(event.target) + (event.key === "ArrowDown" ? 1 : -1)];
    if (next) next.focus();
    return true;
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat && !event.key.startsWith("Arrow")) return;
    const card = event.target.closest(".kept");
    const details = event.target.closest(".kept details");
    if (event.key === "Escape" && details) {
      details.open = false;
      card.focus();
    } else if (walk(event)) {
      event.preventDefault();
    } else if (!event.target.closest("input, select, textarea") && act(event, card)) {
      event.preventDefault();
    }
  });

  // Another search follows an earlier one in its place: no label of the first is left below the second.
  document.addEventListener("htmx:afterSwap", (event) => {
    const card = event.detail.target.closest(".kept") || event.detail.elt.closest(".kept");
    if (!card || !event.detail.requestConfig || event.detail.requestConfig.verb !== "post") return;
    const state = card.querySelector(".decision").dataset.state;
    const others = cards();
    const next = others.slice(others.indexOf(card) + 1).find((other) => other.querySelector('[data-state="open"]'));
    const typed = card.querySelector("details.other[open] input[name=q]"); // the answer to a label that nobody knows
    if (state === "open" || state === "gone") (typed || card).focus();
    else {
      decided.push(card);
      (next || card).focus();
    }
  });
}
