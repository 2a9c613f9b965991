// Every screen: the page says when it is stale. The stream /events sends a heartbeat each second.
"use strict";
const QUIET_MS = 5000;
const banner = document.getElementById("stale");
let heard = Date.now();


function showStale(since) {
  banner.textContent = banner.dataset.text.replace("{time}", since.toLocaleTimeString());
  banner.hidden = false;
  document.body.classList.add("is-stale");
}

function hideStale() {
  banner.hidden = true;
  document.body.classList.remove("is-stale");
}

function watch() {
  if (!document.querySelector(".top nav")) return; // nobody is logged in
  const stream = new EventSource("/events");
  stream.addEventListener("beat", (event) => {
    heard = Date.now();
    const beat = JSON.parse(event.data);
    if (beat.ended) showStale(new Date(beat.ended * 1000)); // the line has stopped
    else hideStale();
    document.dispatchEvent(new CustomEvent("partsight:beat", { detail: beat }));
  });
  stream.onerror = () => {
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => { stream.close(); watch(); }, 3000);
  };
}

setInterval(() => { if (Date.now() - heard > QUIET_MS && document.querySelector(".top nav")) showStale(new Date(heard)); }, 1000);
watch();
