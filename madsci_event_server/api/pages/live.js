// The live view: one EventSource, a bounded list, the newest on top. Event text only ever becomes textContent.
"use strict";

const MOST_ROWS = 500;
const HISTORY = 100;
const SILENCE_MS = 25000;  // two and a half heartbeats
const DRAW_MS = 120;       // a burst is drawn once
const LEVELS = {0: "---", 10: "DBG", 20: "INF", 30: "WRN", 40: "ERR", 50: "CRT"};
const SAYS_LITTLE = /^(unknown|log|log_.*)$/;  // kinds that say no more than the level does
// What must not act on the reader's eyes: control characters, and marks that turn the direction of text.
const HOSTILE = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

const page = Object.fromEntries([
  "link", "link-text", "total", "filters", "level", "source", "search", "pause", "problem", "events", "empty", "here",
].map((id) => [id, document.getElementById(id)]));

let source = null;          // the EventSource
let cursor = null;          // where to go on
let heard = 0;              // when anything was last heard
let attempts = 0;
let retryTimer = 0;
let retryAt = 0;
let total = null;
let generation = 0;         // of the filters: what belongs to older ones is not drawn
let drawTimer = 0;
let paused = false;
let waiting = [];           // arrived, not drawn
const rows = new Map();     // event id -> its <li>
let names = new Map();      // id -> the name it was last seen with

function visible(text, lines = false) {
  return text.replace(HOSTILE, (character) => {
    const code = character.charCodeAt(0);
    if (character === "\n") return lines ? "\n" : "⏎";
    if (character === "\t" && lines) return "\t";
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    return code === 0x7f ? "␡" : "\\u" + code.toString(16).padStart(4, "0");
  });
}

// --- what an event says ---

function kindOf(event) {
  const inner = event.event_data && event.event_data.event_type;
  return SAYS_LITTLE.test(event.event_type) && typeof inner === "string" && /^[a-z0-9_.-]{1,64}$/i.test(inner)
    ? inner.toLowerCase() : event.event_type;
}

function messageOf(event) {
  const data = event.event_data;
  if (typeof data === "string") {
    try { const inner = JSON.parse(data); if (typeof inner === "string") return inner; } catch { /* plain text */ }
    return data;
  }
  if (data && typeof data === "object" && !Array.isArray(data) && data.message != null) {
    return typeof data.message === "string" ? data.message : JSON.stringify(data.message);
  }
  return data && Object.keys(data).length ? JSON.stringify(data) : "";
}

function whoOf(event) {
  const data = event.event_data && typeof event.event_data === "object" ? event.event_data : {};
  const name = event.source.name || data.node_name
    || (typeof data.component_name === "string" ? data.component_name.replace(/^node\./, "") : "");
  if (typeof name === "string" && name) return name;
  const id = event.source.node_id || event.source.manager_id;
  return id ? names.get(id) || "…" + id.slice(-8) : "";
}

function timeOf(event) {
  const moment = new Date(event.event_timestamp);
  const part = (number, digits = 2) => String(number).padStart(digits, "0");
  const clock = `${part(moment.getHours())}:${part(moment.getMinutes())}:${part(moment.getSeconds())}`;
  const today = new Date().toDateString() === moment.toDateString();
  return today ? `${clock}.${part(moment.getMilliseconds(), 3)}` : `${part(moment.getMonth() + 1)}-${part(moment.getDate())} ${clock}`;
}

// --- drawing ---

function cell(tag, kind, text, title) {
  const made = document.createElement(tag);
  made.className = kind;
  made.textContent = visible(text);
  if (title) made.title = visible(title);
  return made;
}

function rowOf(event) {
  const item = document.createElement("li");
  item.dataset.level = event.log_level;
  item.classList.toggle("alert", event.alert === true);
  const row = document.createElement("button");
  row.type = "button";
  row.className = "row";
  row.setAttribute("aria-expanded", "false");
  const kind = kindOf(event);
  const said = messageOf(event);
  row.append(
    cell("time", "", timeOf(event), event.event_timestamp),
    cell("span", "level", LEVELS[event.log_level] || String(event.log_level)),
    cell("span", "who", whoOf(event)),
    cell("span", "kind", SAYS_LITTLE.test(kind) ? "" : kind),
    cell("span", "message", said || kind),
  );
  row.addEventListener("click", () => toggle(item, row, event));
  item.append(row);
  return item;
}

function toggle(item, row, event) {
  const open = item.classList.toggle("open");
  row.setAttribute("aria-expanded", String(open));
  if (open) {
    const all = document.createElement("pre");
    all.textContent = visible(JSON.stringify(event, (name, value) => (name === "_id" ? undefined : value), 2), true);
    item.append(all);
  } else {
    item.lastChild.remove();
  }
}

function draw() {
  drawTimer = 0;
  if (paused) { sayPaused(); return; }
  const fresh = document.createDocumentFragment();
  for (const {event, note, live} of waiting.slice(-MOST_ROWS)) {
    let item;
    if (note) {
      item = cell("li", "note", note);
    } else {
      item = rowOf(event);
      if (live) item.classList.add("fresh");
      const before = rows.get(event.event_id);
      rows.set(event.event_id, item);
      if (before && before.isConnected) { before.replaceWith(item); continue; }
      if (before) before.remove();
    }
    fresh.prepend(item);
  }
  waiting = [];
  const top = page.events.firstChild;
  const offset = window.scrollY > 0 && top ? document.documentElement.scrollHeight : 0;
  page.events.prepend(fresh);
  // Who has scrolled down reads something: it stays where it is.
  if (offset) window.scrollBy(0, document.documentElement.scrollHeight - offset);
  while (page.events.childElementCount > MOST_ROWS) page.events.lastChild.remove();
  if (rows.size > 2 * MOST_ROWS) for (const [id, item] of rows) if (!item.isConnected) rows.delete(id);
  sayEmpty();
}

function drawSoon() {
  if (waiting.length > 4 * MOST_ROWS) waiting = waiting.slice(-2 * MOST_ROWS);
  if (!drawTimer) drawTimer = setTimeout(draw, DRAW_MS);
}

function sayEmpty() {
  page.empty.hidden = page.events.querySelector("li:not(.note)") !== null;
  page.empty.textContent = filtersText() ? "No event matches yet." : "No event yet. Send one, and it appears here.";
}

function sayPaused() {
  const errors = waiting.filter(({event}) => event && event.log_level >= 40).length;
  page.pause.textContent = waiting.length ? `${waiting.length} new${errors ? ` (${errors} ERR)` : ""}` : "Paused";
}

function sayLink(link, text) {
  page.link.dataset.link = link;
  page["link-text"].textContent = text;
}

function sayTotal() {
  page.total.textContent = total === null ? "" : `${total.toLocaleString()} events`;
}

// --- the stream ---

function filters() {
  const chosen = new URLSearchParams();
  if (page.level.value) chosen.set("level", page.level.value);
  if (page.source.value) chosen.set("node", page.source.value);  // by name, or by an id of that name
  if (page.search.value.trim()) chosen.set("search", page.search.value.trim());
  return chosen;
}

const filtersText = () => filters().toString();

function start() {
  generation += 1;
  cursor = null;
  waiting = [];
  rows.clear();
  page.events.replaceChildren();
  page.empty.hidden = true;
  history.replaceState(null, "", filtersText() ? `#${filtersText()}` : location.pathname);
  connect();
}

function connect() {
  clearTimeout(retryTimer);
  retryAt = 0;
  if (source) source.close();
  const asked = filters();
  if (cursor) asked.set("after", cursor); else asked.set("last", HISTORY);
  const opened = new EventSource(`events/stream?${asked}`);
  const mine = generation;
  let began = "";  // by the server's clock, as `received_at` is
  let history = !cursor;  // what comes first was there before: nothing of it can be missed
  source = opened;
  heard = Date.now();
  const take = (kind, work) => opened.addEventListener(kind, (message) => {
    if (mine !== generation || source !== opened) return;
    heard = Date.now();
    if (message.lastEventId) cursor = message.lastEventId;
    work(message.data ? JSON.parse(message.data) : null);
  });
  const arrived = (event) => {
    if (event.received_at > began) history = false;
    waiting.push({event, live: event.received_at > began});
    drawSoon();
  };
  take("hello", (hello) => { began = hello.server_time; attempts = 0; page.problem.hidden = true; sayLink("live", "Live"); drawSoon(); });
  take("message", (event) => {
    if (total !== null && event.received_at > began && !filtersText()) total += 1;
    arrived(event);
  });
  take("raised", arrived);
  take("heartbeat", () => { history = false; sayLink("live", "Live"); });
  take("gap", (gap) => { if (history) return; waiting.push({note: `Some events may be missing here: ${gap.reason}`}); drawSoon(); });
  take("bye", (bye) => { opened.close(); retry(bye.retry_ms, visible(bye.reason)); });
  opened.addEventListener("error", (message) => {
    if (source !== opened || message.data !== undefined) return;
    opened.close();
    explain(mine, asked);
  });
}

// A browser does not say why a stream could not be had: the same question, asked without listening, does.
async function explain(mine, asked) {
  retry();
  const stop = new AbortController();
  try {
    const answer = await fetch(`events/stream?${asked}`, {signal: stop.signal});
    if (mine !== generation || answer.ok) return;
    const problem = await answer.json();
    if (answer.status === 410) {
      cursor = null;
      waiting.push({note: "The server has another database now: what follows begins anew."});
      drawSoon();
    } else if (answer.status === 422) {
      clearTimeout(retryTimer);
      retryAt = 0;
      sayLink("offline", "Not following");
    }
    page.problem.textContent = visible(problem.detail);
    page.problem.hidden = answer.status === 410;
  } catch {
    // Nobody answers: it is tried again anyway.
  } finally {
    stop.abort();
  }
}

function retry(milliseconds = 0) {
  attempts += 1;
  const longest = Math.min(30000, 500 * 2 ** Math.min(attempts, 8));
  const wait = Math.max(milliseconds, longest * (0.5 + Math.random() / 2));
  retryAt = Date.now() + wait;
  clearTimeout(retryTimer);
  retryTimer = setTimeout(connect, wait);
  sayRetry();
}

function sayRetry() {
  const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
  sayLink(attempts > 3 ? "offline" : "retry", `${attempts > 3 ? "Offline" : "Reconnecting"}, ${seconds} s`);
}

// --- what else there is ---

async function look() {
  try {
    const [health, facets, seen] = await Promise.all(
      ["health", "events/facets?field=name&limit=200", "events/names"]
        .map((path) => fetch(path).then((answer) => answer.json())),
    );
    names = new Map(seen.names.reverse().map(({id, name}) => [id, name]));  // the latest first, so it wins
    total = health.total_events;
    sayTotal();
    if (health.problems && health.problems.length) {
      page.problem.textContent = visible(health.problems.join("; "));
      page.problem.hidden = false;
    }
    offer(facets.facets.name.map(({value}) => value));
  } catch {
    // The link says it already.
  }
}

function offer(names) {
  const chosen = page.source.value;
  if (chosen && !names.includes(chosen)) names.unshift(chosen);
  const options = names.sort((one, other) => one.localeCompare(other)).map((name) => {
    const option = document.createElement("option");
    option.value = name;
    option.textContent = visible(name);
    return option;
  });
  page.source.replaceChildren(page.source.options[0], ...options);
  page.source.value = chosen;
}

function restore() {
  const asked = new URLSearchParams(location.hash.slice(1));
  page.level.value = asked.get("level") || "";
  if (page.level.selectedIndex < 0) page.level.value = "";
  page.search.value = asked.get("search") || "";
  const name = asked.get("node");
  if (name) { offer([name]); page.source.value = name; }
}

let typing = 0;
page.filters.addEventListener("submit", (event) => { event.preventDefault(); start(); });
page.level.addEventListener("change", start);
page.source.addEventListener("change", start);
page.search.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(start, 350); });
page.pause.addEventListener("click", () => {
  paused = !paused;
  page.pause.setAttribute("aria-pressed", String(paused));
  page.pause.textContent = paused ? "Paused" : "Pause";
  if (!paused) draw();
});
setInterval(() => {
  sayTotal();
  if (retryAt) { sayRetry(); return; }
  if (source && Date.now() - heard > SILENCE_MS) { source.close(); retry(); }
}, 500);
setInterval(look, 30000);

page.here.textContent = new URL(".", location.href).href;
restore();
// Names first, so that the first rows have them; a server in trouble is listened to all the same.
Promise.race([look(), new Promise((done) => setTimeout(done, 1500))]).then(start);
