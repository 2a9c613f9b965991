// Every screen: the page says when it is stale. The stream /events sends a heartbeat each second; a screen with live cards
// (data-live) also gets their events from it.
"use strict";
(() => {
  const QUIET_MS = 5000, FULL_MS = 30000, AGAIN_MS = 3000;
  const banner = document.getElementById("stale");
  const isLive = document.querySelector("[data-live]") !== null;
  const isLoggedIn = document.querySelector(".top nav") !== null;
  let heard = Date.now();
  let stream = null;

  function showStale(since) {
    const text = banner.dataset.text.replace("{time}", since.toLocaleTimeString([], { hourCycle: "h23" }));
    if (banner.textContent !== text) banner.textContent = text;
    banner.hidden = false;
    document.body.classList.add("is-stale");
  }

  // The link to Health says how many troubles there are.
  function showTroubles(count) {
    const badge = document.getElementById("troubles");
    if (!badge) return;
    const text = badge.dataset.text.replace("{count}", count);
    badge.hidden = !count;
    if (badge.title === text) return;
    badge.title = text;
    badge.querySelector("b").textContent = count;
    badge.querySelector(".unseen").textContent = text;
  }

  function hideStale() {
    banner.hidden = true;
    document.body.classList.remove("is-stale");
  }

  // The stream was refused: the session has ended, or the page has no room for more.
  async function connectAgain() {
    try {
      const answer = await fetch("/live/0", { headers: { Accept: "text/plain" } });
      if (answer.status === 401) {
        location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
        return;
      }
    } catch {
      // The connection is gone; the banner says so.
    }
    setTimeout(watch, AGAIN_MS);
  }

  function hangUp() {
    if (stream) stream.close();
    stream = null;
  }

  function watch() {
    hangUp();
    if (document.hidden) return; // nobody looks: a browser has few connections for all its tabs
    stream = new EventSource(isLive ? "/events?live=1" : "/events");
    stream.addEventListener("beat", (event) => {
      heard = Date.now();
      const beat = JSON.parse(event.data);
      if (beat.ended) showStale(new Date(beat.ended * 1000)); // the line has stopped
      else hideStale();
      showTroubles(beat.troubles || 0);
      document.dispatchEvent(new CustomEvent("partsight:beat", { detail: beat }));
    });
    stream.addEventListener("card", (event) => {
      document.dispatchEvent(new CustomEvent("partsight:card", { detail: JSON.parse(event.data) }));
    });
    stream.addEventListener("full", () => { hangUp(); setTimeout(watch, FULL_MS); }); // too many browsers watch
    stream.onerror = () => {
      if (stream && stream.readyState === EventSource.CLOSED) { hangUp(); connectAgain(); }
    };
  }

  if (isLoggedIn) {
    setInterval(() => { if (Date.now() - heard > QUIET_MS && !document.hidden) showStale(new Date(heard)); }, 1000);
    document.addEventListener("visibilitychange", () => { heard = Date.now(); watch(); });
    watch();
  }
})();
