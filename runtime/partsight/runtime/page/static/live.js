// The live screen: cards follow the events of the stream, which page.js holds open.
"use strict";
(() => {
  const cameras = document.getElementById("cameras");
  const pause = document.getElementById("pause");
  const paused = document.getElementById("paused");
  const SHOWN = 20;
  const loading = new Set();
  let isPaused = false;

  function cardOf(camera) {
    return document.getElementById(`camera-${camera}`);
  }

  // Fetches a whole card: this browser missed some of its events.
  async function reload(camera) {
    if (loading.has(camera)) return;
    loading.add(camera);
    try {
      const answer = await fetch(`/live/${camera}`, { headers: { Accept: "text/plain" } });
      if (answer.ok && !isPaused) {
        const box = document.createElement("template");
        box.innerHTML = await answer.text();
        cardOf(camera).replaceWith(box.content.querySelector(".camera"));
      }
    } catch {
      // The connection is gone; the banner says so, and the next event tries again.
    } finally {
      loading.delete(camera);
    }
  }

  function showPicture(card, event) {
    const link = card.querySelector(".photo-link");
    link.href = `/why/${event.name}`;
    link.hidden = !event.picture;
    card.querySelector(".no-photo").hidden = event.picture;
    card.querySelector(".golden").hidden = !event.golden;
    if (!event.picture) return;
    const image = link.querySelector("img");
    image.src = `/picture/${event.name}.jpg`;
    image.alt = event.alt;
  }

  function show(event) {
    const card = cardOf(event.camera);
    const before = Number(card.dataset.number);
    if (event.number !== before && (before === 0 || event.number !== before + 1)) {
      reload(event.camera);
      return;
    }
    card.querySelector(".facts").innerHTML = event.facts;
    if (event.number === before) return;
    card.dataset.number = event.number;
    showPicture(card, event);
    const thumbs = card.querySelector(".thumbs");
    thumbs.insertAdjacentHTML("afterbegin", event.thumb);
    while (thumbs.children.length > SHOWN) thumbs.lastElementChild.remove();
  }

  pause.hidden = false;
  pause.addEventListener("click", () => {
    if (document.body.classList.contains("is-stale")) return;
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", String(isPaused));
    pause.textContent = isPaused ? pause.dataset.goOn : pause.dataset.pause;
    paused.hidden = !isPaused;
    paused.textContent = paused.dataset.text.replace("{time}", new Date().toLocaleTimeString([], { hourCycle: "h23" }));
    if (!isPaused) for (const card of cameras.children) reload(card.dataset.camera);
  });
  document.addEventListener("partsight:card", (event) => { if (!isPaused) show(event.detail); });
})();
