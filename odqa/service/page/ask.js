// Everything that comes from a document or a person goes in by textContent.

const AROUND = { best: 420, other: 130, nearest: 260 };
const RECENT = 8;

const $ = (id) => document.getElementById(id);
const form = $("form"), question = $("question"), topK = $("top-k"), abstain = $("abstain");
const status = $("status"), results = $("results");

let running = null, licence = "";

function element(name, text, classes = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (classes) made.className = classes;
  return made;
}

function copy(id) {
  return $(id).content.firstElementChild.cloneNode(true);
}

function plural(count, one, many = one + "s") {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

function percent(probability) {
  return Math.min(99, Math.max(1, Math.round(100 * probability)));
}

function headers() {
  const key = sessionStorage.getItem("key");
  return { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
}

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function call(path, options = {}) {
  const response = await fetch(path, { ...options, headers: headers() });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, body.error ?? `The service answered ${response.status}.`);
  return body;
}

function wanted() {
  const chosen = sessionStorage.getItem("top-k");
  const body = { question: question.value.trim(), n_best: 5, ...(chosen ? { top_k: Number(chosen) } : {}) };
  const risk = Number(abstain.value);
  return Number.isNaN(risk) ? { ...body, abstain: abstain.value } : { ...body, max_risk: risk };
}

async function ask() {
  const body = wanted();
  if (!body.question) return;
  running?.abort();
  const mine = (running = new AbortController());
  document.body.classList.add("busy", "asked");
  results.setAttribute("aria-busy", "true");
  tell("Looking …");
  const begin = performance.now();
  try {
    const found = await call("v1/ask", { method: "POST", body: JSON.stringify(body), signal: mine.signal });
    show(found, (performance.now() - begin) / 1000);
    remember(body.question);
  } catch (error) {
    if (mine.signal.aborted) return;
    fail(error);
  }
  document.body.classList.remove("busy");
  results.removeAttribute("aria-busy");
}

function fail(error) {
  results.replaceChildren();
  document.title = "odqa";
  below();
  const asksKey = error instanceof Refused && error.status === 401;
  $("key-form").hidden = !asksKey;
  tell(error instanceof Refused ? error.message : "The service can't be reached. Is it still running?", true);
  if (asksKey) $("key").focus();
}

function below(...parts) {
  $("footer").textContent = [...parts, licence].filter(Boolean).join(" · ");
}

function tell(text, failed = false) {
  status.textContent = text;
  status.classList.toggle("failed", failed);
}

function show(found, seconds) {
  $("key-form").hidden = true;
  document.title = `${found.question} – odqa`;
  results.replaceChildren(...(found.no_answer ? none(found) : found.answers.map(answer)));
  const stages = Object.entries(found.timings).map(([stage, took]) => `${stage} ${milliseconds(took)}`);
  if (found.passages.length) stages.push(`${found.passages_read} of ${plural(found.passages.length, "passage")} read`);
  const outcome = found.no_answer ? "No answer" : plural(found.answers.length, "answer");
  tell(`${outcome} in ${plural(found.passages.length, "passage")} · ${seconds.toFixed(seconds < 10 ? 2 : 0)} s`);
  below(...stages, `${found.index}, generation ${found.generation}`, found.pipeline, `request ${found.request_id}`);
}

function milliseconds(seconds) {
  return `${Math.round(1000 * seconds).toLocaleString("en")} ms`;
}

function answer(found, rank) {
  const made = copy("answer-template");
  if (rank === 0) made.classList.add("best");
  made.querySelector(".text").textContent = found.text;
  const sure = percent(found.probability);
  made.querySelector(".percent").textContent = `${sure} %`;
  made.querySelector(".probability").setAttribute("aria-label", `probability ${sure} percent`);
  made.querySelector(".probability").setAttribute("role", "img");
  made.querySelector(".meter span").style.width = `${sure}%`;
  made.querySelector(".place").replaceChildren(...place(found));
  marked(made, found, rank === 0 ? AROUND.best : AROUND.other);
  others(made.querySelector(".others"), found.evidence.slice(1));
  return made;
}

function place(found) {
  const parts = [found.title || found.document_id];
  if (found.heading) parts.push(found.heading);
  if (found.page !== null && found.page !== undefined) parts.push(`page ${found.page}`);
  if (found.title && found.document_id !== found.title) parts.push(found.document_id);
  return parts.flatMap((part, at) => [...(at ? [document.createTextNode(" · ")] : []), element("bdi", part)]);
}

function marked(card, found, around) {
  const before = tail(found.before, around), after = head(found.after, around);
  const passage = card.querySelector(".passage");
  passage.replaceChildren(document.createTextNode(before), element("mark", found.answer), document.createTextNode(after));
  if (before !== found.before || after !== found.after)
    widen(card, () =>
      passage.replaceChildren(
        document.createTextNode(found.before), element("mark", found.answer), document.createTextNode(found.after)));
}

function widen(card, whole) {
  const button = card.querySelector(".more");
  button.hidden = false;
  button.addEventListener("click", () => {
    whole();
    button.hidden = true;
    card.focus();
  });
}

function others(details, evidence) {
  if (!evidence.length) return;
  details.hidden = false;
  details.querySelector("summary").textContent = `Also in ${plural(evidence.length, "other place")}`;
  details.querySelector("ul").replaceChildren(...evidence.map((item) => {
    const made = document.createElement("li");
    const quote = element("p", "", "passage");
    quote.dir = "auto";
    quote.append(tail(item.before, 90), element("mark", item.answer), head(item.after, 90));
    made.append(...place(item), quote);
    return made;
  }));
}

function none(found) {
  const made = copy("none-template");
  const count = found.passages.length;
  made.querySelector(".reason").textContent = count
    ? `None of the ${plural(count, "passage")} found holds an answer sure enough to be shown. ` +
      `Probability that there is none: ${percent(found.no_answer_probability)} %.`
    : "Nothing in these documents comes near the question.";
  const anyway = made.querySelector(".anyway");
  anyway.hidden = !count || abstain.value === "never";
  anyway.addEventListener("click", () => {
    abstain.value = "never";
    ask();
  });
  made.querySelector("h3").hidden = !count;
  return [made, ...found.passages.slice(0, 3).map(nearest)];
}

function nearest(found) {
  const made = copy("passage-template");
  made.querySelector(".place").replaceChildren(...place(found));
  const passage = made.querySelector(".passage");
  passage.textContent = head(found.text, AROUND.nearest);
  if (passage.textContent !== found.text) widen(made, () => { passage.textContent = found.text; });
  return made;
}

function head(text, count) {
  const letters = [...text];
  return letters.length <= count ? text : letters.slice(0, count).join("").replace(/\s+\S{0,20}$/u, "") + " …";
}

function tail(text, count) {
  const letters = [...text];
  return letters.length <= count ? text : "… " + letters.slice(-count).join("").replace(/^\S{0,20}\s+/u, "");
}

function recent() {
  try {
    return JSON.parse(sessionStorage.getItem("recent") ?? "[]");
  } catch {
    return [];
  }
}

function remember(asked) {
  sessionStorage.setItem("recent", JSON.stringify([asked, ...recent().filter((one) => one !== asked)].slice(0, RECENT)));
  const here = `#${new URLSearchParams({ q: asked })}`;
  if (location.hash !== here) history.pushState(null, "", here);
}

function begin() {
  running?.abort();
  document.body.classList.remove("asked", "busy");
  document.title = "odqa";
  results.replaceChildren();
  results.removeAttribute("aria-busy");
  below();
  tell("");
  const asked = recent();
  $("recent").hidden = !asked.length;
  $("recent").querySelector("ul").replaceChildren(...asked.map((one) => {
    const item = document.createElement("li"), button = element("button", one);
    button.type = "button";
    button.dir = "auto";
    button.addEventListener("click", () => { question.value = one; submit(); });
    item.append(button);
    return item;
  }));
}

function submit() {
  $("recent").hidden = true;
  ask();
}

function again() {
  if (document.body.classList.contains("asked")) submit();
}

function fromAddress() {
  const asked = new URLSearchParams(location.hash.slice(1)).get("q");
  question.value = asked ?? "";
  if (asked) submit();
  else begin();
}

async function about() {
  try {
    const index = await call("v1/index");
    $("about").textContent = `${index.index} · ${plural(index.documents, "document")}`;
    $("heading").firstElementChild.textContent = `Ask ${plural(index.documents, "document")}`;
    topK.max = Math.min(50, index.limits.top_k);
    topK.value = sessionStorage.getItem("top-k") ?? index.defaults.top_k;
    counted();
    promise(index.risks);
    licence = index.licence && `Documents: ${index.licence}`;
    if (!document.body.classList.contains("asked")) below();
  } catch (error) {
    if (error instanceof Refused && error.status === 503) setTimeout(about, 1000);
    else if (!document.body.classList.contains("asked")) fail(error);
  }
}

function promise(risks) {
  abstain.querySelectorAll(".risk").forEach((one) => one.remove());
  for (const risk of risks) {
    const option = element("option", `risk at most ${Math.round(100 * risk)} %`, "risk");
    option.value = risk;
    abstain.append(option);
  }
}

function counted() {
  $("top-k-shown").textContent = plural(Number(topK.value), "passage");
}

function move(step) {
  const cards = [...results.querySelectorAll(".result")];
  const at = cards.indexOf(document.activeElement.closest?.(".result"));
  if (at + step >= cards.length) return false;
  if (at + step < 0) question.focus();
  else cards[at + step].focus();
  return true;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const typing = event.target.matches("input, select, textarea");
  if (event.key === "/" && !typing) question.focus(), question.select();
  else if (event.key === "Escape" && event.target !== question) question.focus();
  else if (event.key === "ArrowDown" && (!typing || event.target === question)) {
    if (!move(1)) return;
  } else if (event.key === "ArrowUp" && !typing) {
    if (!move(-1)) return;
  } else if (event.key === "Enter" && event.target.matches(".result")) event.target.querySelector(".more:not([hidden])")?.click();
  else return;
  event.preventDefault();
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
topK.addEventListener("input", counted);
topK.addEventListener("change", () => {
  sessionStorage.setItem("top-k", topK.value);
  again();
});
abstain.addEventListener("change", again);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  results.focus();
});
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", $("key").value);
  $("key").value = "";
  $("key-form").hidden = true;
  tell("");
  about();
  if (question.value) ask();
});
addEventListener("popstate", fromAddress);

topK.value = sessionStorage.getItem("top-k") ?? topK.value;
counted();
about();
fromAddress();
if (matchMedia("(pointer: fine)").matches) question.focus();
