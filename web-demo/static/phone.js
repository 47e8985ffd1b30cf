// The phone: which screen is shown, and when it is drawn again. What it shows comes from the core.

import { closeSheet, count, events, get, h, icon, many, newPasscode, post, sentence, tap, when } from "./ui.js";
import * as screens from "./screens.js";

const app = document.getElementById("app");
const number = document.body.dataset.phone;
let state = null;
let drawn = "";
let steady;

const ROUTES = {
  round: screens.round, customers: screens.customers, customer: screens.customer,
  visit: screens.visit, unsent: screens.unsent, more: screens.more, passcode: screens.passcode,
};
const TABS = [["round", "Round"], ["customers", "Customers"], ["unsent", "Unsent"], ["more", "More"]];

const place = () => {
  const [name, id] = location.hash.replace(/^#\//, "").split("/");
  return ROUTES[name] ? { name, id } : { name: "round" };
};

// ---- the app ------------------------------------------------------------------------------------------------

const badge = () => {
  if (state.refused) return h("span.badge.bad", {}, count(state.refused));
  return state.unsent ? h("span.badge", { "data-unsent": state.unsent }, count(state.unsent)) : null;
};

function syncButton() {
  const running = state.sync.status === "running";
  const label = state.unsent ? `Sync, ${many(state.unsent, "change", "changes")} unsent` : "Sync";
  return h("button.round-button", { type: "button", id: "sync", title: label, "aria-label": label, disabled: running,
    onclick: (event) => tap(event.currentTarget, () => post("/sync")) },
  icon("sync", running ? "spin" : ""), running ? null : badge());
}

/** What the phone must be told about its lease, if anything. */
function leaseNotice() {
  switch (state.lease?.state) {
    case "warn": return `Not in touch for a while. Connect before ${when(state.lease.locks_at)}, or the app stays closed.`;
    case "lock_due": return "Away for too long: the app opens again once it has reached your organisation.";
    case "wipe_due": return "Away for too long: this phone is about to wipe itself. Connect now.";
    default: return null;
  }
}

function strips() {
  const lease = leaseNotice();
  return [strip(), lease && h("div.strip.warn", { role: "status", id: "lease" }, icon("nosignal", "small"), lease),
    state.concerns.length && h("div.strip.warn", { role: "status", id: "concerns" }, icon("shield", "small"), state.concerns.map(sentence).join(" "))];
}

function strip() {
  if (state.airplane) return h("div.strip", {}, icon("plane", "small"), "Airplane mode");
  if (state.contact === null && state.sync.status === "failed") {
    return h("div.strip", {}, icon("nosignal", "small"), sentence(state.sync.message));
  }
  return null;
}

function header({ title, under, back }) {
  if (back) {
    return h("header.top.deep", {}, h("a.round-button", { href: back, "aria-label": "Back" }, icon("back")),
      h("h1.sr", {}, title), h("span.grow"), syncButton());
  }
  return h("header.top", {}, h("h1", {}, under && h("span.under", {}, under), title), syncButton());
}

function tabs(current) {
  return h("nav.tabs", { "aria-label": "Main" }, TABS.map(([name, label]) =>
    h("a", { href: `#/${name}`, "aria-current": name === current ? "page" : null, "data-tab": name },
      icon(name), label, name === "unsent" ? badge() : null)));
}

/** Somebody is typing: what is on the screen must not be taken away. */
const typing = () => {
  const active = document.activeElement;
  return active && app.contains(active) && active.matches("textarea, input");
};

async function draw(fresh) {
  const { name, id } = place();
  const key = `${name}/${id ?? ""}`;
  const keep = () => app.querySelector("#sync")?.replaceWith(syncButton());
  if (!fresh && drawn === key && typing()) return keep();
  const screen = await ROUTES[name](state, id);
  if (!fresh && drawn === key && screen.steady && screen.steady === steady) return keep();
  steady = screen.steady;
  const old = drawn === key ? app.querySelector("main") : null;
  const scroll = old?.scrollTop ?? 0;
  const main = h("main", {}, screen.content);
  app.replaceChildren(...[...strips(), header(screen), main, tabs(screen.tab ?? name)].filter(Boolean));
  main.scrollTop = scroll;
  if (drawn !== key) screen.shown?.();
  drawn = key;
}

// ---- the gate -----------------------------------------------------------------------------------------------

const hello = () => {
  const hour = new Date().getHours();
  return hour < 12 ? "Good morning" : hour < 18 ? "Good afternoon" : "Good evening";
};

function unlock() {
  let typed = "";
  const pins = h("div.pins", { "aria-hidden": "true" });
  const problem = h("p.problem", { role: "alert" });
  const go = h("button.go", { type: "button", "aria-label": "Unlock", id: "unlock" }, icon("next"));
  const show = () => {
    pins.replaceChildren(...Array.from({ length: Math.max(6, typed.length) }, (_, i) => h(i < typed.length ? "i.on" : "i")));
    go.disabled = typed.length < 6;
  };
  const press = (key) => {
    problem.textContent = "";
    typed = key === "back" ? typed.slice(0, -1) : (typed + key).slice(0, 16);
    show();
  };
  const submit = async () => {
    if (typed.length < 6) return;
    go.disabled = true;
    go.replaceChildren(icon("sync", "spin"));
    try {
      await post("/unlock", { passcode: typed });
    } catch (error) {
      problem.textContent = error.message;
      pins.classList.add("shake");
      setTimeout(() => pins.classList.remove("shake"), 400);
    }
    typed = "";
    go.replaceChildren(icon("next"));
    show();
    await refresh();
  };
  go.onclick = submit;
  const key = (digit) => h("button", { type: "button", "data-key": digit, onclick: () => press(digit) }, digit);
  const first = (state.person ?? "").split(" ")[0];
  show();
  const gate = h("section.gate", {},
    h("div.who", {}, h("img", { src: "/static/mark.svg", alt: "" }), h("h1", {}, `${hello()}, ${first}`),
      h("p", {}, state.organisation)),
    h("div", {}, leaseNotice() && h("p.notice", { id: "lease" }, leaseNotice()), h("p.muted", {}, "Enter your passcode"), pins, problem),
    h("div.pad", {}, [..."123456789"].map(key),
      h("button.bare", { type: "button", "aria-label": "Delete", onclick: () => press("back") }, icon("erase")), key("0"), go));
  gate.onkeys = (event) => {
    if (/^[0-9]$/.test(event.key)) press(event.key);
    else if (event.key === "Backspace") press("back");
    else if (event.key === "Enter") submit();
  };
  return gate;
}

function enrol() {
  const problem = h("p.problem", { role: "alert" });
  const ticket = h("textarea", { id: "ticket", rows: 4, autocomplete: "off", spellcheck: false, placeholder: "RM1:…" });
  const [passcode, passcodeField] = newPasscode("new-passcode", "New passcode");
  const join = h("button.button", { type: "submit" }, "Join");
  const submit = async (event) => {
    event.preventDefault();
    join.disabled = true;
    try {
      await post("/enrol", { ticket: ticket.value, passcode: passcode.value });
      await refresh();
    } catch (error) {
      problem.textContent = error.message;
      join.disabled = false;
    }
  };
  return h("section.gate", {},
    h("div.who", {}, h("img", { src: "/static/mark.svg", alt: "" }), h("h1", {}, "Join your organisation"),
      h("p", {}, "Paste the enrolment code that the console shows, and choose a passcode.")),
    h("form", { onsubmit: submit },
      h("label.field", {}, h("span", {}, "Enrolment code"), ticket),
      passcodeField,
      problem, join));
}

const still = (glyph, title, text, foot) => h("section.gate.still", {},
  h("div.seal", {}, icon(glyph)), h("h1", {}, title), h("p", {}, text), h("p.foot", {}, foot));

const GATES = {
  new: enrol,
  closed: unlock,
  locked: () => still("lock", "Locked by your organisation",
    "Your visits and everything you wrote are safe on this phone. Ask your administrator to unlock it.",
    state.airplane ? "Airplane mode is on: an unlock can’t arrive." : "Once that is done, it asks for your passcode again."),
  wiping: () => still("wiped", "This device is being wiped by your organisation",
    "Its keys are destroyed: nothing on it can be read any more.", "Sending the proof to your organisation…"),
  wiped: () => still("wiped", "This device was wiped by your organisation",
    "Its keys are destroyed and its files removed. Your organisation holds the signed proof.", "There is nothing left here to open."),
};

let gate = null;
document.addEventListener("keydown", (event) => gate?.onkeys?.(event));

// ---- keeping up ---------------------------------------------------------------------------------------------

let busy = false;
let again = false;
let pressing = false;
let missed = false;

// A button that is drawn anew under a finger never gets its click.
document.addEventListener("pointerdown", () => { pressing = true; }, true);
for (const end of ["pointerup", "pointercancel"]) {
  document.addEventListener(end, () => setTimeout(() => {
    pressing = false;
    if (missed) refresh();
  }, 60), true);
}

/** Asks the core what is new and draws it; one at a time, and once more if something happened meanwhile. */
export async function refresh() {
  missed = pressing;
  if (pressing) return;
  if (busy) { again = true; return; }
  busy = true;
  try {
    do {
      again = false;
      state = await get("/state");
      document.body.classList.toggle("dark", state.phone === "wiped" || state.phone === "wiping");
      document.body.dataset.state = state.phone;
      if (state.phone === "open") {
        gate = null;
        await draw();
      } else if (gate?.dataset.state !== state.phone || state.phone === "locked") {
        closeSheet();
        drawn = "";
        gate = GATES[state.phone]();
        gate.dataset.state = state.phone;
        app.replaceChildren(gate);
      }
      app.removeAttribute("aria-busy");
    } while (again);
  } catch (error) {
    // The vault closed between two questions: the next tick shows it.
    if (error.code !== "closed" && error.code !== "locked" && error.code !== "wiped") console.warn(error.message);
  } finally {
    busy = false;
  }
}

window.addEventListener("hashchange", () => { closeSheet(); if (state?.phone === "open") draw(true).catch(() => refresh()); });
document.addEventListener("focusout", () => setTimeout(refresh, 150));
events(refresh);
refresh();
document.title = `Phone ${number} · Roundsman`;
