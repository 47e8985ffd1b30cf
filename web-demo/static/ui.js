// Building blocks of the phone's screens: elements, icons, words for numbers, requests, sheets.

const base = `/phone/${document.body.dataset.phone}/api`;

/** An element. Text is always set as text, never as markup. */
export function h(tag, props = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key in element && key !== "list" && !key.startsWith("aria")) element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";
export function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const PATHS = {
  round: "M6.5 20.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM17.5 8.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM9 18h6.5a3 3 0 0 0 0-6h-7a3 3 0 0 1 0-6H15",
  customers: "M4 10v10h16V10M3 9.5 5 4h14l2 5.5a2.6 2.6 0 0 1-4.5 1.3 2.9 2.9 0 0 1-4.5 0 2.9 2.9 0 0 1-4.5 0A2.6 2.6 0 0 1 3 9.5zM10 20v-5h4v5",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM20.5 20.5 16 16",
  unsent: "M12 15V4M7.5 8 12 3.5 16.5 8M4 14v4.5A2.5 2.5 0 0 0 6.5 21h11a2.5 2.5 0 0 0 2.5-2.5V14",
  more: "M4 7h9M19 7h1M4 17h1M11 17h9M16 9.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM8 19.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5z",
  call: "M5 4h3.5l1.7 4.3-2.2 1.5a12 12 0 0 0 6.2 6.2l1.5-2.2L20 15.5V19a1.8 1.8 0 0 1-2 1.8A15.5 15.5 0 0 1 3.2 6 1.8 1.8 0 0 1 5 4z",
  check: "M5 12.5 10 17.5 19.5 7",
  pin: "M12 21.5s7-6.3 7-11.5a7 7 0 1 0-14 0c0 5.2 7 11.5 7 11.5zM12 12.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5z",
  away: "M3 20 10 6l4 8 2-3 5 9zM17.5 6.5h.01",
  plane: "M12 2.5c-.9 0-1.5 1-1.5 2.5v4.5L3 14v2l7.5-2.2V18l-2.2 1.7v1.6l3.7-1 3.7 1v-1.6L13.5 18v-4.2L21 16v-2l-7.5-4.5V5c0-1.5-.6-2.5-1.5-2.5z",
  lock: "M6.5 10.5h11A1.5 1.5 0 0 1 19 12v7a1.5 1.5 0 0 1-1.5 1.5h-11A1.5 1.5 0 0 1 5 19v-7a1.5 1.5 0 0 1 1.5-1.5zM8 10.5V7.5a4 4 0 0 1 8 0v3",
  sync: "M20 11.5A8 8 0 0 0 5.8 7L3.5 9.5M3.5 4.5v5h5M4 12.5A8 8 0 0 0 18.2 17l2.3-2.5M20.5 19.5v-5h-5",
  back: "M14.5 5 8 12l6.5 7",
  next: "M9.5 5.5 16 12l-6.5 6.5",
  shield: "M12 3 5 5.5v5.7c0 4.6 3 8.2 7 9.8 4-1.6 7-5.2 7-9.8V5.5zM12 8.5v4M12 16h.01",
  wiped: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM5.7 5.7l12.6 12.6",
  erase: "M20 5.5H9.5L3.5 12l6 6.5H20a1 1 0 0 0 1-1v-11a1 1 0 0 0-1-1zM11.5 9.5l5 5M16.5 9.5l-5 5",
  flag: "M5.5 21V4M5.5 4.5c5-2.5 8 2.5 13 0v9c-5 2.5-8-2.5-13 0",
  nosignal: "M3 3l18 18M8.5 16.5a5 5 0 0 1 6.5-.5M5 13a10 10 0 0 1 4.5-2.6M14 10.2A10 10 0 0 1 19 13M2 9.5a15 15 0 0 1 4.5-2.9M10.5 5.6A15 15 0 0 1 22 9.5M12 20h.01",
  bag: "M6 8h12l1 12.5H5zM9 10.5V7a3 3 0 0 1 6 0v3.5",
  none: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM8 12h8",
  door: "M6 21V4.5A1.5 1.5 0 0 1 7.5 3h9A1.5 1.5 0 0 1 18 4.5V21M3.5 21h17M14.5 12h.01",
  key: "M15.5 14a5 5 0 1 0-4.7-3.3L4 17.5V20h3v-2h2v-2h1.8l1-1.2a5 5 0 0 0 3.7-.8zM16.5 8h.01",
  x: "M6 6l12 12M18 6 6 18",
};
export const icon = (name, extra = "") =>
  svg("svg", { class: `icon ${extra}`.trim(), viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: PATHS[name] }));

const locale = "en";
export const clock = (ms) => new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(ms);
export function when(ms) {
  const today = new Date().toDateString() === new Date(ms).toDateString();
  if (today) return `Today, ${clock(ms)}`;
  return new Intl.DateTimeFormat(locale, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(ms);
}
export const dayName = (day) =>
  new Intl.DateTimeFormat(locale, { weekday: "long", day: "numeric", month: "long" }).format(new Date(`${day}T12:00:00`));
export const count = (n) => new Intl.NumberFormat(locale).format(n);
export const many = (n, one, more) => `${count(n)} ${n === 1 ? one : more}`;
export function metres(m) {
  if (m === null || m === undefined || m < 1) return "";
  if (m < 100) return `${Math.round(m)} m`;
  if (m < 950) return `${Math.round(m / 10) * 10} m`;
  return `${(m / 1000).toFixed(m < 9950 ? 1 : 0)} km`;
}
export function minutes(from, to) {
  const seconds = Math.max(0, Math.round((to - from) / 1000));
  const pad = (n) => String(n).padStart(2, "0");
  if (seconds < 3600) return `${pad(Math.floor(seconds / 60))}:${pad(seconds % 60)}`;
  return `${Math.floor(seconds / 3600)} h ${pad(Math.floor((seconds % 3600) / 60))} min`;
}
export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

/** What went wrong, in the core's words. */
export class Failure extends Error {
  constructor({ code, message }) {
    super(sentence(message));
    this.code = code;
  }
}
async function answer(response) {
  if (response.ok) return response.status === 204 ? null : response.json();
  const refusal = await response.json().catch(() => ({ code: "broken", message: "the demo gave no answer" }));
  throw new Failure(refusal);
}
export const get = async (path) => answer(await fetch(base + path));
export const post = async (path, body = {}) =>
  answer(await fetch(base + path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) }));
export const events = (onTick) => {
  const source = new EventSource(`${base}/events`);
  source.onmessage = onTick;
  source.onopen = onTick;
};

let hiding;
export function toast(text) {
  const element = document.getElementById("toast");
  element.textContent = text;
  element.classList.add("shown");
  clearTimeout(hiding);
  hiding = setTimeout(() => element.classList.remove("shown"), 2400);
}
// The next touch takes it away.
document.addEventListener("pointerdown", () => document.getElementById("toast").classList.remove("shown"), true);

const layer = document.getElementById("sheet-layer");
let before;
export function closeSheet() {
  if (layer.hidden) return;
  layer.hidden = true;
  layer.replaceChildren();
  before?.focus?.();
}
/** A sheet that rises from below; a tap beside it or Escape closes it. */
export function sheet(title, hint, ...content) {
  before = document.activeElement;
  const panel = h("section.sheet", { role: "dialog", "aria-modal": "true", "aria-label": title },
    h("h2", {}, title), hint && h("p.muted", {}, hint), content);
  layer.replaceChildren(panel);
  layer.hidden = false;
  panel.querySelector("button, input, textarea")?.focus({ preventScroll: true });
}
layer.addEventListener("click", (event) => event.target === layer && closeSheet());
document.addEventListener("keydown", (event) => event.key === "Escape" && closeSheet());

/** A big choice in a sheet or list. */
export const choice = (name, glyph, title, sub, onclick) =>
  h("li", {}, h("button.row", { type: "button", "data-choice": name, onclick },
    h("span.avatar", {}, icon(glyph)),
    h("span.body", {}, h("span.title", {}, title), sub && h("span.sub", {}, sub)),
    icon("next", "small muted")));

/** Runs work with the button disabled; a failure becomes a toast. */
export async function tap(button, work) {
  button.disabled = true;
  try {
    await work();
  } catch (error) {
    toast(error.message);
  } finally {
    button.disabled = false;
  }
}

/** A field for a new passcode: says while somebody types what the core has against it. */
export function newPasscode(id, label) {
  const verdict = h("ul.rules", { id: `${id}-rules`, "aria-live": "polite" });
  const input = h("input", { id, type: "password", autocomplete: "new-password", inputMode: "numeric", "aria-describedby": `${id}-rules` });
  let waiting;
  let asked = 0;
  const say = (lines, good) => verdict.replaceChildren(...lines.map((line) => h(good ? "li.good" : "li", {}, icon(good ? "check" : "x", "small"), line)));
  const judge = async () => {
    const typed = input.value;
    const mine = ++asked;
    if (!typed) return say([], false);
    const { broken } = await post("/passcode/judge", { typed });
    if (mine !== asked) return;
    say(broken.length ? broken.map(sentence) : ["It will do."], !broken.length);
  };
  input.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => judge().catch(() => say([], false)), 150);
  });
  return [input, h("div", {}, h("label.field", {}, h("span", {}, label, h("em", {}, "6 or more")), input), verdict)];
}
