// The screens of the app. Each asks the core for what it shows and returns its header and its content.

import { choice, clock, closeSheet, count, dayName, get, h, icon, many, metres, minutes, newPasscode, post, sentence, sheet, svg, tap, toast, when } from "./ui.js";
import { refresh } from "./phone.js";

const go = (path) => { location.hash = `#/${path}`; };
const VERDICT = {
  verified: ["good", "check", "At the store"],
  outside: ["warn", "flag", "Away from the store"],
  unverified: ["", "nosignal", "No position"],
};
const OUTCOME = { order: "Order placed", no_order: "No order", closed: "Store was closed", left: "Left early" };
const STATE = { planned: "Planned", checked_in: "In progress", checked_out: "Done", missed: "Missed", cancelled: "Cancelled" };
const initial = (name) => [...name][0]?.toUpperCase() ?? "·";
const word = (text) => text ? text.charAt(0).toUpperCase() + text.slice(1) : null;
const empty = (glyph, title, text) => h("div.empty", {}, icon(glyph), h("strong", {}, title), text);

// ---- the round ----------------------------------------------------------------------------------------------

function ring(done, all) {
  const length = 2 * Math.PI * 32;
  return svg("svg", { class: "ring", viewBox: "0 0 74 74", "aria-hidden": "true" },
    svg("circle", { cx: 37, cy: 37, r: 32 }),
    svg("circle", { cx: 37, cy: 37, r: 32, class: "done", "stroke-dasharray": length,
      "stroke-dashoffset": length * (1 - (all ? done / all : 0)), opacity: done ? 1 : 0 }),
    svg("text", { x: 37, y: 44 }, `${done}/${all}`));
}

function stopRow({ visit, customer }, next) {
  const mark = {
    planned: visit.stop === null ? "·" : String(visit.stop), checked_in: icon("pin", "small"),
    checked_out: icon("check", "small"), missed: icon("x", "small"), cancelled: icon("x", "small"),
  }[visit.state];
  const tone = { checked_in: ".now", checked_out: ".done", missed: ".bad", cancelled: ".bad" }[visit.state] ?? (next ? ".now" : "");
  const side = visit.state === "planned" ? metres(customer.distance_m)
    : visit.state === "checked_in" ? "now" : visit.ended ? clock(visit.ended) : STATE[visit.state].toLowerCase();
  const closed = visit.state !== "planned" && visit.state !== "checked_in";
  const href = visit.state === "planned" ? `#/customer/${customer.id}` : `#/visit/${visit.id}`;
  return h("li", {}, h(`a.row${closed ? ".done" : ""}`, { href, "data-visit": visit.id, "data-state": visit.state },
    h(`span.dot${tone}`, {}, mark),
    h("span.body", {}, h("span.title", {}, customer.name),
      h("span.sub", {}, visit.outcome ? OUTCOME[visit.outcome] : visit.reason ?? customer.address ?? customer.city)),
    h("span.side", {}, side)));
}

export async function round(state) {
  const { day, stops } = await get("/round");
  const done = stops.filter(({ visit }) => !["planned", "checked_in"].includes(visit.state)).length;
  const next = stops.find(({ visit }) => visit.state === "checked_in") ?? stops.find(({ visit }) => visit.state === "planned");
  const content = [];
  if (!stops.length) {
    content.push(empty("round", "No round for today", state.customers ? "Find a customer and check in." : "Sync to fetch your round."));
  } else {
    content.push(h("div.card.progress", {}, ring(done, stops.length), h("div", {},
      h("strong", {}, done === stops.length ? "Round complete" : `${many(stops.length - done, "stop", "stops")} to go`),
      h("span.muted", {}, state.unsent ? `${many(state.unsent, "change", "changes")} not sent yet` : "Everything is sent"))));
    if (next) content.push(nextCard(next));
    content.push(h("h2.label", {}, "All stops"), h("ol.list", {}, stops.map((stop) => stopRow(stop, stop === next))));
  }
  return { title: "Today’s round", under: dayName(day), content };
}

function nextCard({ visit, customer }) {
  const here = visit.state === "checked_in";
  return h("section.card.next", {},
    h("a.where", { href: here ? `#/visit/${visit.id}` : `#/customer/${customer.id}` },
      h("span.body", {}, h("span.kicker", {}, here ? "You are here" : "Next stop"), h("span.name", {}, customer.name),
        h("span.muted", {}, [customer.address, !here && metres(customer.distance_m)].filter(Boolean).join(" · "))),
      icon("next", "muted")),
    here
      ? h("a.button", { href: `#/visit/${visit.id}` }, "Continue the visit")
      : h("button.button", { type: "button", "data-action": "check-in", onclick: () => arrive(customer, visit) }, icon("pin"), "Check in"));
}

/** Asks where the phone is to believe that it is, and checks in there. */
function arrive(customer, visit) {
  const at = (whereabouts) => (event) => tap(event.currentTarget, async () => {
    const path = visit ? `/visits/${visit.id}/check-in` : `/customers/${customer.id}/start`;
    const { id } = await post(path, { whereabouts });
    closeSheet();
    go(`visit/${id}`);
  });
  sheet("Where are you?", "A real phone asks its GPS. Here you choose what it says.",
    h("ul.list", {},
      choice("at_the_store", "pin", "At the store", "A few metres from the door", at("at_the_store")),
      choice("two_kilometres_away", "away", "2 km away", "Flagged, never refused", at("two_kilometres_away")),
      choice("no_signal", "nosignal", "No position", "A basement, or GPS is off", at("no_signal"))));
}

// ---- customers ----------------------------------------------------------------------------------------------

let typed = "";

const customerRow = (customer) => h("li", {}, h("a.row", { href: `#/customer/${customer.id}`, "data-customer": customer.id },
  h("span.avatar", { "aria-hidden": "true" }, initial(customer.name)),
  h("span.body", {}, h("span.title", {}, customer.name),
    h("span.sub", {}, [customer.address, customer.city].filter(Boolean).join(", "))),
  h("span.side", {}, metres(customer.distance_m))));

export async function customers(state) {
  const list = h("ul.list", { id: "found" });
  const note = h("p.label", { role: "status" });
  const more = h("button.button.plain", { type: "button", hidden: true }, "Show more");
  const input = h("input", { id: "search", type: "search", value: typed, placeholder: "Name, street, code, phone…",
    autocomplete: "off", spellcheck: false, "aria-label": "Search customers", enterKeyHint: "search" });
  let asked = 0;
  const look = async () => {
    const mine = ++asked;
    const query = input.value;
    const page = await get(`/customers?q=${encodeURIComponent(query)}`);
    if (mine !== asked) return;
    typed = query;
    list.replaceChildren(...page.rows.map(customerRow));
    list.hidden = !page.rows.length;
    more.hidden = !page.next;
    more.onclick = () => tap(more, async () => {
      const following = await get(`/customers?after=${page.next}`);
      page.next = following.next;
      list.append(...following.rows.map(customerRow));
      more.hidden = !following.next;
    });
    const found = page.rows.length >= page.limit ? `first ${page.limit} matches` : many(page.rows.length, "match", "matches");
    note.textContent = query.trim() ? `${word(found)} in ${page.ms < 1 ? "less than 1" : Math.round(page.ms)} ms, on this phone` : `All ${count(state.customers)} customers`;
    if (!page.rows.length) note.textContent = query.trim() ? "Nobody of that name. Try part of a word, a street, or the last digits of a number." : "No customers yet. Sync to fetch them.";
  };
  input.oninput = () => look().catch((error) => toast(error.message));
  await look();
  return { title: "Customers", content: [h("label.search", {}, icon("search"), input), note, list, more] };
}

function visitLine(visit) {
  const verdict = VERDICT[visit.verdict];
  const title = visit.ended ? when(visit.ended) : visit.started ? when(visit.started) : dayName(visit.day);
  return h("li.visit-line", { "data-visit": visit.id },
    h("div.head", {}, title, h(`span.chip${verdict?.[0] ? `.${verdict[0]}` : ""}`, {}, visit.outcome ? OUTCOME[visit.outcome] : STATE[visit.state])),
    visit.notes && h("p", {}, visit.notes),
    visit.reason && h("p", {}, visit.reason),
    visit.next_step && h("p.step", {}, "Next: ", visit.next_step),
    !visit.own && h("p.step", {}, "By a colleague"));
}

export async function customer(state, id) {
  const { customer, today, visits } = await get(`/customers/${id}`);
  const past = visits.filter((visit) => visit.state !== "planned" && visit.state !== "checked_in");
  const chips = [word(customer.channel), customer.code, metres(customer.distance_m)].filter(Boolean);
  const content = [
    h("section.card.hero", {}, h("p.name", {}, customer.name),
      h("p.address", {}, [customer.address, customer.city].filter(Boolean).join(", ")),
      h("div.chips", {}, chips.map((text) => h("span.chip", {}, text)))),
    customer.notes && h("section.card", {}, h("h2", {}, "Good to know"), h("p", {}, customer.notes)),
    actions(customer, today),
    h("h2.label", {}, "Last visits"),
    past.length ? h("ul.list", {}, past.map(visitLine)) : h("p.muted", {}, "No visit yet."),
  ];
  return { title: customer.name, back: today ? "#/round" : "#/customers", tab: today ? "round" : "customers", content };
}

function actions(customer, today) {
  const call = customer.phone && h("a.button.quiet", { href: `tel:${customer.phone}` }, icon("call"), "Call");
  if (today?.state === "checked_in") {
    return [h("a.button", { href: `#/visit/${today.id}` }, "Continue the visit"), call];
  }
  const planned = today?.state === "planned" ? today : null;
  const enter = h("button.button", { type: "button", "data-action": "check-in", onclick: () => arrive(customer, planned) }, icon("pin"),
    today && !planned ? "Visit again" : "Check in");
  const skip = planned && h("button.button.quiet", { type: "button", onclick: () => miss(planned) }, "Can’t visit");
  const others = [call, skip].filter(Boolean);
  return [enter, others.length === 2 ? h("div.pair", {}, others) : others];
}

function miss(visit) {
  const reason = h("input", { id: "reason", autocomplete: "off", placeholder: "Closed for renovation" });
  const save = h("button.button", { type: "submit" }, "Mark as missed");
  sheet("Why can’t you visit?", "The office sees the reason with your round.",
    h("form", { onsubmit: (event) => { event.preventDefault(); tap(save, async () => {
      await post(`/visits/${visit.id}/miss`, { reason: reason.value });
      closeSheet();
      go("round");
    }); } }, h("label.field", {}, h("span", {}, "Reason"), reason), save));
}

// ---- a visit ------------------------------------------------------------------------------------------------

function verdictCard(visit) {
  const [tone, glyph, title] = VERDICT[visit.verdict] ?? VERDICT.unverified;
  const away = visit.distance_m === null ? "" : metres(visit.distance_m);
  const text = visit.verdict === "verified" ? `${away} from the door at ${clock(visit.started)}`
    : visit.verdict === "outside" ? `${away} from it at ${clock(visit.started)}. Kept and flagged.`
    : `Checked in at ${clock(visit.started)}. Kept as not verified.`;
  return h(`section.verdict${tone ? `.${tone}` : ""}`, { id: "verdict", "data-verdict": visit.verdict }, icon(glyph), h("div", {}, h("strong", {}, title), h("span", {}, text)));
}

export async function visit(state, id) {
  const { visit, customer } = await get(`/visits/${id}`);
  const back = "#/round";
  const open = visit.state === "checked_in";
  const head = h("section.card.hero", {}, h("p.name", {}, customer.name),
    h("p.address", {}, customer.address ?? customer.city),
    h("div.chips", {},
      h(`span.chip${open ? ".good" : ""}`, {}, STATE[visit.state]),
      visit.started && h("span.chip.num", { id: "elapsed" }, minutes(visit.started, visit.ended ?? Date.now())),
      visit.outcome && h("span.chip", {}, OUTCOME[visit.outcome])));
  const content = [head, visit.verdict && verdictCard(visit)];
  if (visit.reason) content.push(h("section.card", {}, h("h2", {}, "Reason"), h("p", {}, visit.reason)));
  let writing = null;
  if (visit.state === "checked_in" || visit.state === "checked_out") {
    writing = notes(visit);
    content.push(writing.element);
  }
  if (open) {
    content.push(h("button.button", { type: "button", id: "check-out", onclick: async () => { await writing.save(); leave(visit); } }, "Check out"));
  }
  // What is written here is saved as it is written: a redraw would only take the cursor away.
  return { title: customer.name, back, tab: "round", content, steady: visit.state, shown: () => tickElapsed(visit) };
}

function tickElapsed(visit) {
  if (visit.state !== "checked_in") return;
  const timer = setInterval(() => {
    const element = document.getElementById("elapsed");
    if (!element || !location.hash.endsWith(visit.id)) return clearInterval(timer);
    element.textContent = minutes(visit.started, Date.now());
  }, 1000);
}

/** Notes and the next step, saved on the phone while they are written. */
function notes(visit) {
  const note = h("textarea", { id: "notes", value: visit.notes ?? "", placeholder: "What did you see and agree?" });
  const step = h("input", { id: "next-step", value: visit.next_step ?? "", placeholder: "Bring the new price list", autocomplete: "off" });
  const saved = h("em", { id: "saved" }, visit.notes || visit.next_step ? "Saved on this phone" : "");
  let [kept, waiting, last] = [`${note.value}\n${step.value}`, null, Promise.resolve()];
  const save = () => {
    clearTimeout(waiting);
    const now = `${note.value}\n${step.value}`;
    if (now === kept) return last;
    kept = now;
    last = post(`/visits/${visit.id}/write`, { notes: note.value, next_step: step.value })
      .then(() => { saved.textContent = "Saved on this phone"; })
      .catch((error) => { kept = null; saved.textContent = "Not saved"; toast(error.message); });
    return last;
  };
  const later = () => { saved.textContent = "Writing…"; clearTimeout(waiting); waiting = setTimeout(save, 700); };
  for (const element of [note, step]) { element.oninput = later; element.onblur = save; }
  return { save, element: h("div", {},
    h("label.field", {}, h("span", {}, "Notes", saved), note),
    h("label.field", {}, h("span", {}, "Next step"), step)) };
}

function leave(visit) {
  const out = (outcome, reason) => async () => {
    await post(`/visits/${visit.id}/check-out`, { outcome, reason });
    closeSheet();
    toast("Visit saved on this phone");
    go("round");
  };
  const pick = (outcome) => (event) => tap(event.currentTarget, out(outcome, null));
  const early = () => {
    const reason = h("input", { id: "reason", autocomplete: "off", placeholder: "The manager was called away" });
    const save = h("button.button", { type: "submit" }, "Check out");
    sheet("Why do you leave early?", null, h("form", { onsubmit: (event) => { event.preventDefault(); tap(save, out("left", reason.value)); } },
      h("label.field", {}, h("span", {}, "Reason"), reason), save));
  };
  sheet("How did it go?", null, h("ul.list", {},
    choice("order", "bag", OUTCOME.order, null, pick("order")),
    choice("no_order", "none", OUTCOME.no_order, null, pick("no_order")),
    choice("closed", "door", OUTCOME.closed, null, pick("closed")),
    choice("left", "flag", OUTCOME.left, "You will be asked why", early)));
}

// ---- unsent work --------------------------------------------------------------------------------------------

export async function unsent(state) {
  const { entries, conflicts } = await get("/outbox");
  const press = (path) => (event) => tap(event.currentTarget, () => post(path));
  const line = (entry) => h("li.visit-line", { "data-seq": entry.seq },
    h("div.head", {}, entry.title, h(`span.chip${entry.refusal ? ".bad" : ""}`, {}, entry.refusal ? "Refused" : "Waiting")),
    h("p.step", {}, [entry.what, entry.changes > 1 && many(entry.changes, "change", "changes"), when(entry.made)].filter(Boolean).join(" · ")),
    entry.refusal && h("p.refusal", {}, sentence(entry.refusal)),
    entry.refusal && h("div.tools", {},
      h("button.button.quiet.small", { type: "button", onclick: press(`/outbox/${entry.seq}/resend`) }, "Send again"),
      h("button.button.danger.small", { type: "button", onclick: press(`/outbox/${entry.seq}/discard`) }, "Discard")));
  const lost = (conflict) => h("li.visit-line", {},
    h("div.head", {}, conflict.title, h("span.chip.warn", {}, word(conflict.field))),
    h("p.step", {}, "One version stands, the other is kept until somebody has decided."),
    h("div.tools", {}, h("button.button.quiet.small", { type: "button", onclick: press(`/conflicts/${conflict.id}/dismiss`) }, "Leave as it stands")));
  const content = [syncCard(state)];
  if (entries.length) content.push(h("h2.label", {}, many(state.unsent, "change", "changes"), " on this phone only"), h("ul.list", { id: "entries" }, entries.map(line)));
  else content.push(empty("check", "Everything is sent", "What you do next shows up here until the server has it."));
  if (conflicts.length) content.push(h("h2.label", {}, "Two people wrote the same"), h("ul.list", {}, conflicts.map(lost)));
  return { title: "Unsent work", content };
}

function syncWords({ sync }) {
  switch (sync.status) {
    case "never": return ["Not synced yet", "Your customers and your round are on the server."];
    case "running":
      if (sync.rows) return [`${many(sync.rows, "row", "rows")} received`, sync.left ? `${count(sync.left)} to go` : "Nearly there"];
      return [sync.sending ? `Sending ${many(sync.sending, "change", "changes")}` : "Talking to the server", "You can go on working."];
    case "done": {
      const parts = [`${count(sync.sent)} sent`, `${count(sync.received)} received`];
      if (sync.refused) parts.push(`${count(sync.refused)} refused`);
      return [`Synced at ${clock(sync.at)}`, `${parts.join(", ")} · ${count(Math.ceil(sync.bytes / 1024))} KB`];
    }
    default: return ["Sync did not get through", `${sentence(sync.message)} Nothing is lost.`];
  }
}

function syncCard(state) {
  const running = state.sync.status === "running";
  const [title, text] = syncWords(state);
  const { rows = 0, left = 0 } = state.sync;
  const fill = h("i");
  if (rows) fill.style.width = `${Math.round((100 * rows) / (rows + left))}%`;
  return h("section.card", { id: "sync-card", "data-status": state.sync.status },
    h("h2", {}, title), h("p.muted", {}, text), running && h("div.bar", {}, fill),
    h("button.button.quiet", { type: "button", id: "sync-now", disabled: running,
      onclick: (event) => tap(event.currentTarget, () => post("/sync")) }, icon("sync", running ? "spin" : ""), running ? "Syncing…" : "Sync now"));
}

// ---- more ---------------------------------------------------------------------------------------------------

export async function more(state) {
  const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
  const content = [
    h("ul.list", {},
      h("li", {}, h("button.row", { type: "button", id: "airplane", role: "switch", "aria-checked": String(state.airplane),
        onclick: (event) => tap(event.currentTarget, () => post("/airplane", { on: !state.airplane })) },
      h("span.avatar", {}, icon("plane")),
      h("span.body", {}, h("span.title", {}, "Airplane mode"), h("span.sub", {}, state.airplane ? "No connection to anything" : "Work goes on offline")),
      h("span.switch")))),
    syncCard(state),
    h("ul.list", {},
      choice("passcode", "key", "Change passcode", null, () => go("passcode")),
      choice("lock", "lock", "Lock", "Keys leave the memory", (event) => tap(event.currentTarget, () => post("/lock")))),
    h("h2.label", {}, "This phone"),
    h("dl.card.facts", {},
      fact("Person", state.person), fact("Organisation", state.organisation),
      fact("Customers", count(state.customers)),
      fact("Server", state.airplane ? "Not reachable" : state.contact ? `Reached at ${clock(state.contact)}` : "Not reached"),
      state.lease?.locks_at && fact("Works offline until", when(state.lease.locks_at)),
      state.lease?.wipes_at && fact("Wipes itself on", when(state.lease.wipes_at)),
      fact("Device", h("span.num", {}, state.device?.slice(-12) ?? "")), fact("Core", state.core)),
  ];
  return { title: "More", content };
}

export async function passcode() {
  const field = (id, label, hint) => {
    const input = h("input", { id, type: "password", autocomplete: "off", inputMode: "numeric" });
    return [input, h("label.field", {}, h("span", {}, label, hint && h("em", {}, hint)), input)];
  };
  const [old, oldField] = field("old-passcode", "Passcode now");
  const [fresh, freshField] = newPasscode("fresh-passcode", "New passcode");
  const [again, againField] = field("again-passcode", "New passcode again");
  const problem = h("p.problem", { role: "alert" });
  const save = h("button.button", { type: "submit" }, "Change passcode");
  const submit = async (event) => {
    event.preventDefault();
    problem.textContent = "";
    if (fresh.value !== again.value) { problem.textContent = "The new passcodes differ."; return; }
    save.disabled = true;
    try {
      await post("/passcode", { old: old.value, new: fresh.value });
      toast("Passcode changed");
      go("more");
    } catch (error) {
      problem.textContent = error.message;
    }
    save.disabled = false;
    refresh();
  };
  return { title: "Change passcode", back: "#/more", tab: "more", steady: "form", content: [
    h("p.large", {}, "Change passcode"),
    h("form", { onsubmit: submit }, oldField, freshField, againField, problem, save)] };
}
