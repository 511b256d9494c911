// The script of the console. Every page can be read without it. It shows times in the
// reader's zone, keeps the page live, and puts a chosen file into the editor.
"use strict";

const main = document.getElementById("main");
const connection = document.getElementById("connection");

// Times. The server writes them in UTC.

const clock = new Intl.DateTimeFormat(undefined, {hour: "2-digit", minute: "2-digit", second: "2-digit"});
const day = new Intl.DateTimeFormat(undefined, {month: "short", day: "numeric"});
const exact = new Intl.DateTimeFormat(undefined, {dateStyle: "full", timeStyle: "long"});

function age(date) {
  const s = Math.max(0, Math.floor((Date.now() - date) / 1000));
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min";
  if (s < 86400) return Math.floor(s / 3600) + " h " + String(Math.floor(s / 60) % 60).padStart(2, "0");
  return Math.floor(s / 86400) + " d " + Math.floor(s / 3600) % 24 + " h";
}

function showTimes(root) {
  for (const t of root.querySelectorAll("time")) {
    const date = new Date(t.dateTime);
    if (isNaN(date)) continue;
    const today = date.toDateString() === new Date().toDateString();
    const text = t.classList.contains("age") ? age(date) : (today ? "" : day.format(date) + ", ") + clock.format(date);
    if (t.textContent !== text) t.textContent = text;
    const title = exact.format(date);
    if (t.title !== title) t.title = title;
    t.classList.add("shown"); // before that, it takes about the room that it will have
  }
}

// Changing a page. Elements are matched by ID, or else by their position, and only what
// differs is changed, so that the focus, selections, scroll positions and open details stay.

const kept = {INPUT: ["value", "checked"], TEXTAREA: ["value"], SELECT: ["value"], OPTION: ["selected"], DETAILS: ["open"]};

function morph(from, to) {
  if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName || (from.id || "") !== (to.id || "")) {
    from.replaceWith(to);
    return;
  }
  if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.data !== to.data) from.data = to.data;
    return;
  }
  const stays = kept[from.nodeName] || [];
  for (const a of [...from.attributes]) {
    if (!to.hasAttribute(a.name) && !stays.includes(a.name)) from.removeAttribute(a.name);
  }
  for (const a of to.attributes) {
    if (from.getAttribute(a.name) !== a.value && !stays.includes(a.name)) from.setAttribute(a.name, a.value);
  }
  if (from.nodeName === "TEXTAREA" || from.nodeName === "SELECT") return;
  const tail = from.hasAttribute("data-tail") && from.scrollTop + from.clientHeight >= from.scrollHeight - 8;
  morphChildren(from, to);
  if (tail) from.scrollTop = from.scrollHeight;
}

function morphChildren(from, to) {
  const named = new Map();
  for (const child of from.children) if (child.id) named.set(child.id, child);
  let at = from.firstChild;
  for (const next of [...to.childNodes]) {
    const same = next.id && named.get(next.id);
    if (same && same !== at) from.insertBefore(same, at);
    if (same) at = same;
    if (!at || (!same && at.id && named.has(at.id) && next.id !== at.id)) {
      from.insertBefore(next, at);
      continue;
    }
    const after = at.nextSibling;
    morph(at, next);
    at = after;
  }
  while (at) {
    const after = at.nextSibling;
    at.remove();
    at = after;
  }
}

function parse(html) {
  const t = document.createElement("template");
  t.innerHTML = html;
  showTimes(t.content);
  return t.content;
}

// The stream of the page. The browser connects again by itself after a loss, unless the
// server refuses.

let stream, heard = Date.now(), lost = false;

function setLost(text) {
  if (!text) {
    if (lost) connection.hidden = true;
    lost = false;
    return;
  }
  lost = true;
  connection.hidden = false;
  if (connection.textContent !== text) connection.textContent = text;
}

function hear() {
  heard = Date.now();
  setLost("");
}

function connect() {
  stream = new EventSource(location.href);
  stream.onopen = hear;
  stream.addEventListener("beat", hear);
  stream.addEventListener("page", (e) => {
    hear();
    const end = e.data.indexOf("\n");
    document.title = e.data.slice(0, end) + " · zeekwire";
    const next = document.createElement("main");
    next.append(parse(e.data.slice(end + 1)));
    morphChildren(main, next);
  });
  stream.addEventListener("parts", (e) => {
    hear();
    for (const next of [...parse(e.data).children]) {
      const old = document.getElementById(next.id);
      if (old) morph(old, next);
    }
  });
  stream.addEventListener("end", () => {
    stream.close();
    refused();
  });
  stream.onerror = () => {
    const since = "Connection to the controller lost. This page shows what was known at " + clock.format(heard) + ". ";
    if (stream.readyState !== EventSource.CLOSED) {
      setLost(since + "Connecting again …");
      return;
    }
    setLost(since + "Trying again …");
    refused();
  };
}

// refused finds out why there is no stream: the session has ended, or the server is not
// there, or not yet.
async function refused() {
  try {
    const r = await fetch(location.href, {headers: {"Accept": "text/html"}, redirect: "manual", cache: "no-store"});
    if (r.status === 401) {
      setLost("Your session has ended. ");
      const link = document.createElement("a");
      link.href = "/login?next=" + encodeURIComponent(location.pathname + location.search);
      link.textContent = "Log in again";
      connection.append(link);
      return;
    }
    if (r.status === 403 || r.status === 404) {
      location.reload();
      return;
    }
  } catch {
    // the server is not there
  }
  setTimeout(connect, 2000);
}

showTimes(document);
setInterval(() => showTimes(document), 1000);
for (const e of document.querySelectorAll("[data-tail]")) e.scrollTop = e.scrollHeight;
if (document.body.hasAttribute("data-live")) {
  connect();
  addEventListener("pagehide", () => stream.close());
  addEventListener("pageshow", (e) => { if (e.persisted) connect(); });
}

// Filters apply when the choice changes.
for (const form of document.querySelectorAll("form[data-auto]")) {
  for (const select of form.querySelectorAll("select")) select.addEventListener("change", () => form.requestSubmit());
}

// A chosen file goes into the editor, where it can be changed before it is checked.
for (const input of document.querySelectorAll("input[data-into]")) {
  input.addEventListener("change", async () => {
    const file = input.files[0];
    if (!file || file.size > 1 << 20) return;
    document.getElementById(input.dataset.into).value = await file.text();
    input.form.elements.name.value = file.name;
    input.value = ""; // the text counts
  });
}
