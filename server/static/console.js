// Pages work without this file: it counts a code's last minutes down, and looks again while a command is on its way.
"use strict";

for (const place of document.querySelectorAll("[data-until]")) {
  const until = Date.parse(place.dataset.until);
  const tick = () => {
    const left = Math.max(0, Math.round((until - Date.now()) / 1000));
    place.textContent = left ? `${Math.floor(left / 60)} min ${String(left % 60).padStart(2, "0")} s` : "no time any more";
    if (left) setTimeout(tick, 1000);
    else location.reload();
  };
  if (until > Date.now()) tick();
}

const lively = document.querySelector("[data-refresh]");
const counter = `looked ${location.pathname}`;
const looked = Number(sessionStorage.getItem(counter) || 0);
if (!lively) {
  sessionStorage.removeItem(counter);
} else if (looked < 100) {
  // A page that is left open must not keep the session alive for ever, so it stops looking after some minutes.
  const look = () => {
    if (document.hidden || document.querySelector("details[open]")) {
      setTimeout(look, 1000);
      return;
    }
    sessionStorage.setItem(counter, String(looked + 1));
    location.reload();
  };
  setTimeout(look, Number(lively.dataset.refresh) * 1000);
}
