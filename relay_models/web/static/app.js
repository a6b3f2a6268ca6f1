// Optional: completion in the filter box, new runs, and keys. Every page works without it.
"use strict";

const asked = new Map();

function ask(url) {
  if (!asked.has(url)) {
    const answer = fetch(url).then((reply) => (reply.ok ? reply.json() : []), () => []);
    asked.set(url, answer);
    setTimeout(() => asked.delete(url), 60000);
  }
  return asked.get(url);
}

// What is being written at the caret: a column, an operator or a value, and where it begins.
function context(text, columns) {
  const before = text.slice(text.search(/\S/) < 0 ? text.length : 0);
  // A word may go on as a quoted text, as in score."two words".
  const tokens = [...before.matchAll(/"(?:[^"\\]|\\.)*"?|[()=,]|[!<>~]=?|[^\s()"',=!<>~]+(?:"(?:[^"\\]|\\.)*"?)?/g)];
  const last = tokens.at(-1);
  const open = last && last.index + last[0].length === text.length && !/^[()=,!<>~]+$/.test(last[0]);
  const done = (open ? tokens.slice(0, -1) : tokens).map((token) => token[0]);
  const start = open ? last.index : text.length;
  const word = open ? last[0].replace(/^"/, "") : "";
  const find = (name) => columns.find((each) => each.name === name || each.name.toLowerCase() === name.toLowerCase() || each.aliases.includes(name.toLowerCase()));
  const joins = /^(and|or|not|\()$/i;
  let from = done.length;
  let depth = 0;
  while (from > 0) {
    const token = done[from - 1];
    if (token === ")") depth += 1;
    if (token === "(" && depth > 0) depth -= 1;
    else if (joins.test(token) && depth === 0 && !(token === "(" && /^(in|any|all|none)$/i.test(done[from - 2] || ""))) break;
    from -= 1;
  }
  const part = done.slice(from);
  const column = part.length ? find(part[0]) : null;
  if (!part.length) return { what: "column", start, word };
  if (!column) return { what: "join", start, word };
  if (part.length === 1) return { what: "operator", start, word, column };
  const end = part.at(-1);
  if (/^([=!<>~]+|in|has|any|all|none|contains|startswith|endswith|like|matches|between|\(|,)$/i.test(end)) {
    return { what: "value", start, word, column };
  }
  return { what: "join", start, word };
}

function quote(value) {
  return /^[^\s()"',=!<>~]+$/.test(value) && !/^(and|or|not|all|none|any)$/i.test(value)
    ? value
    : `"${value.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n")}"`;
}

// What can follow at the caret of a filter box, best first.
async function choices(box) {
  const columns = await ask(box.dataset.complete);
  const text = box.value.slice(0, box.selectionStart);
  const at = context(text, columns);
  let found = [];
  if (at.what === "column") {
    found = columns.map((each) => ({ insert: `${each.name} `, shown: each.name, about: each.about, names: [each.name, ...each.aliases] }));
  } else if (at.what === "operator") {
    found = [...new Set([...at.column.operators, "is missing"])].map((each) => ({ insert: `${each} `, shown: each, about: "", names: [each] }));
  } else if (at.what === "value") {
    const values = await ask(`${box.dataset.complete}?column=${encodeURIComponent(at.column.name)}`);
    found = values.map((each) => ({ insert: `${quote(each)} `, shown: each, about: "", names: [each] }));
  } else {
    found = ["and", "or"].map((each) => ({ insert: `${each} `, shown: each, about: "", names: [each] }));
  }
  const word = at.word.toLowerCase();
  const rank = (each) => (each.names.some((name) => name.toLowerCase().startsWith(word)) ? 0 : 1);
  found = found.filter((each) => each.names.some((name) => name.toLowerCase().includes(word)));
  found.sort((one, two) => rank(one) - rank(two));
  return { found: found.slice(0, 30), start: at.start, text };
}

// Completion in a filter box.
function complete(box) {
  const list = document.createElement("ul");
  list.id = `${box.id}-choices`;
  list.className = "choices";
  list.role = "listbox";
  list.hidden = true;
  list.setAttribute("aria-label", "Completions");
  box.after(list);
  let current = null;
  let selected = -1;

  const close = () => {
    list.hidden = true;
    box.setAttribute("aria-expanded", "false");
    box.removeAttribute("aria-activedescendant");
    selected = -1;
  };

  const select = (index) => {
    const items = [...list.children];
    if (!items.length) return;
    selected = (index + items.length) % items.length;
    items.forEach((item, position) => item.setAttribute("aria-selected", String(position === selected)));
    items[selected].scrollIntoView({ block: "nearest" });
    box.setAttribute("aria-activedescendant", items[selected].id);
  };

  const insert = (index) => {
    const after = box.value.slice(current.text.length).replace(/^\s+/, "");
    const before = current.text.slice(0, current.start) + current.found[index].insert;
    box.value = before + after;
    box.setSelectionRange(before.length, before.length);
    close();
    suggest();
  };

  const suggest = async () => {
    const shown = box.value;
    const answer = await choices(box);
    if (box.value !== shown || document.activeElement !== box) return;
    current = answer;
    list.replaceChildren(
      ...answer.found.map((each, index) => {
        const item = document.createElement("li");
        item.id = `${box.id}-choice-${index}`;
        item.role = "option";
        item.textContent = each.shown;
        if (each.about) {
          const about = document.createElement("small");
          about.textContent = each.about;
          item.append(about);
        }
        item.addEventListener("mousedown", (event) => {
          event.preventDefault();
          insert(index);
        });
        return item;
      }),
    );
    list.hidden = !answer.found.length;
    box.setAttribute("aria-expanded", String(!list.hidden));
    selected = -1;
  };

  box.role = "combobox";
  box.setAttribute("aria-autocomplete", "list");
  box.setAttribute("aria-controls", list.id);
  box.setAttribute("aria-expanded", "false");
  box.addEventListener("input", suggest);
  box.addEventListener("click", suggest);
  box.addEventListener("blur", close);
  box.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) suggest();
      else select(selected + (event.key === "ArrowDown" ? 1 : selected < 0 ? 0 : -1));
    } else if (event.key === "Escape") {
      close();
    } else if ((event.key === "Enter" || event.key === "Tab") && !list.hidden && selected >= 0) {
      event.preventDefault();
      insert(selected);
    }
  });
}

document.querySelectorAll("[data-complete]").forEach(complete);

// Rows by keyboard: j and k move, Enter opens, / goes to the filter.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input:not([type=checkbox]), select, textarea")) return;
  const box = document.querySelector("[data-complete]");
  if (event.key === "/" && box) {
    event.preventDefault();
    box.focus();
    box.select();
  } else if (event.key === "j" || event.key === "k") {
    const links = [...document.querySelectorAll("a.open, details.call > summary")];
    // From wherever in a row the reader is.
    const active = document.activeElement;
    const at = links.findLastIndex((link) => link === active || link.compareDocumentPosition(active) & Node.DOCUMENT_POSITION_FOLLOWING);
    const next = links[Math.min(Math.max(at + (event.key === "j" ? 1 : -1), 0), links.length - 1)];
    if (next) next.focus();
  }
});

// What makes an element the same as one of another answer.
const likeness = (element) =>
  [element.tagName, element.id, element.getAttribute("href") ?? element.value ?? "", element.href ? "" : element.textContent].join(" ");

// Put a later answer in the place of an earlier one. The reader keeps the place, the focus and what is unfolded.
function swap(earlier, later) {
  const active = earlier.contains(document.activeElement) ? document.activeElement : null;
  const all = [...earlier.querySelectorAll("a, button, input, summary, [tabindex]")];
  const nth = (element, among) => among.filter((each) => likeness(each) === likeness(element)).indexOf(element);
  const isRead = (element) => element.getBoundingClientRect().top > 0;
  const mark = active ?? (earlier.getBoundingClientRect().top < 0 ? all.find(isRead) : null);
  const noted = mark && { top: mark.getBoundingClientRect().top, place: nth(mark, all) };
  const unfolded = all.filter((each) => each.parentElement.open && each.tagName === "SUMMARY").map((each) => [each, nth(each, all)]);
  earlier.replaceWith(later);
  const found = [...later.querySelectorAll("a, button, input, summary, [tabindex]")];
  const twin = (element, place) => found.filter((each) => likeness(each) === likeness(element))[place];
  for (const [summary, place] of unfolded) twin(summary, place)?.parentElement.setAttribute("open", "");
  const kept = mark && twin(mark, noted.place);
  if (active) {
    if (!kept) later.tabIndex = -1;
    (kept ?? later).focus({ preventScroll: true });
  }
  if (kept) scrollBy(0, kept.getBoundingClientRect().top - noted.top);
}

// A page, and while it waits for its answer, the same page once it has more; each is shown.
async function load(url, show) {
  while (url) {
    const reply = await fetch(url);
    const page = new DOMParser().parseFromString(await reply.text(), "text/html");
    show(page);
    url = page.querySelector("#answer")?.dataset.following;
  }
}

function showAnswer(page) {
  const answer = document.querySelector("#answer");
  // A page about an error has no answer but the error.
  const later = page.querySelector("#answer") ?? page.querySelector("main .error") ?? page.querySelector("main");
  const fault = page.querySelector("#filter-error");
  if (fault) document.querySelector("form.ask").after(document.importNode(fault, true));
  const made = document.importNode(later, true);
  made.id = "answer";
  swap(answer, made);
  document.querySelector("#progress").replaceChildren(...document.importNode(page.querySelector("#progress") ?? document.createElement("p"), true).childNodes);
}

const following = document.querySelector("#answer")?.dataset.following;
if (following) {
  load(following, showAnswer).then(watch, () => {
    document.querySelector("#progress").textContent = "There is no answer: reload the page.";
  });
} else {
  watch();
}

// How many documents there are, and new ones as they are stored.
function watch() {
  const total = document.querySelector("#total");
  const rows = document.querySelector("#rows");
  if (!total || !rows) return;
  const question = new URL(total.dataset.state, location.href);
  const stored = rows.dataset.stored;
  if (stored) question.searchParams.set("since", stored);
  const isFirst = !new URL(location.href).searchParams.has("after");
  const isNewestFirst = !new URL(location.href).searchParams.has("order");

  // Whether the rows were replaced: not while the reader is in them, or has chosen some.
  const refresh = async () => {
    let isReplaced = false;
    await load(location.href, (page) => {
      const fresh = page.querySelector("#rows");
      const old = document.querySelector("#rows");
      if (!fresh || old.contains(document.activeElement) || old.querySelector("input:checked")) return;
      const known = new Set([...old.querySelectorAll("tr[data-row]")].map((row) => row.dataset.row));
      const made = document.importNode(fresh, true);
      made.querySelectorAll("tr[data-row]").forEach((row) => row.classList.toggle("fresh", !known.has(row.dataset.row)));
      old.replaceWith(made);
      isReplaced = true;
    });
    return isReplaced;
  };

  // How many there are besides those stored after all of the rows, and how many of those the reader knows of.
  let older = null;
  let known = 0;
  const look = async () => {
    if (document.hidden) return;
    if (older === null) question.searchParams.set("total", "1");
    else question.searchParams.delete("total");
    let counts;
    try {
      const reply = await fetch(question);
      if (!reply.ok) return;
      counts = await reply.json();
    } catch {
      return;
    }
    const later = counts.new ?? counts.total;
    if (older === null) {
      older = counts.total - later;
      // In another order, what was stored later need not be new.
      if (!isFirst || !isNewestFirst) known = later;
    }
    total.textContent = (older + later).toLocaleString("en");
    if (later <= known) return;
    if (isFirst && isNewestFirst && (await refresh())) {
      known = later;
      return;
    }
    const news = document.querySelector("#news");
    const text = `${(later - known).toLocaleString("en")} new: show from the start`;
    news.hidden = false;
    if (news.firstElementChild.textContent !== text) news.firstElementChild.textContent = text;
  };
  look();
  setInterval(look, 3000);
}

// Light or dark, if the reader wants another one than the system's.
const theme = document.querySelector("#theme");
if (theme) {
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const name = () => {
    theme.textContent = isDark() ? "Light" : "Dark";
    theme.setAttribute("aria-label", `${isDark() ? "light" : "dark"} colors`);
  };
  theme.hidden = false;
  name();
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem("theme", root.dataset.theme);
    } catch {
      // Storage is blocked: the choice holds for this page.
    }
    name();
  });
}

// On a narrow screen the page and the conditions that are chosen are scrolled to.
for (const each of document.querySelectorAll("header nav [aria-current], nav.chips [aria-current]")) {
  const line = each.parentElement;
  line.scrollLeft += each.getBoundingClientRect().left - line.getBoundingClientRect().left - 40;
}
