"use strict";
// Buttons call Airflow's own API, with the cookie and the rights of the user.

const theme = localStorage.getItem("theme");
if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;

// A line for each thing that is spoken of, such as a night; the last four.
const message = document.getElementById("message");
function say(about, text, bad) {
  let line = [...message.children].find((line) => line.dataset.about === about);
  if (!text) return line?.remove();
  if (!line) {
    line = document.createElement("div");
    line.dataset.about = about;
    message.append(line);
  }
  line.textContent = about === "question" ? text : `${about}: ${text}`;
  line.className = bad ? "is-failed" : "";
  while (message.children.length > 4) message.firstChild.remove();
}

async function call(method, path, body) {
  let answer;
  try {
    answer = await fetch(document.body.dataset.root + "/api/v2" + path, {
      method, credentials: "same-origin", keepalive: true,
      headers: { Accept: "application/json", "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
  } catch {
    throw new Error("Airflow does not answer");
  }
  let content = {};
  try { content = await answer.json(); } catch { if (answer.ok) throw new Error("Airflow answers with another page: log in again"); }
  if (answer.ok) return content;
  const detail = content.detail ?? answer.statusText;
  const why = { 401: "log in again", 403: "you may not do this" }[answer.status];
  const refusal = new Error(`Airflow refused (${answer.status}): ${why ?? (typeof detail === "string" ? detail : JSON.stringify(detail))}`);
  refusal.status = answer.status;
  throw refusal;
}

const id = encodeURIComponent;
const runOf = (dag, run) => `/dags/${id(dag)}/dagRuns/${id(run)}`;
const moment = (key) => key + (key.includes("T") ? ":00:00Z" : "T00:00:00Z");
const trigger = (dag, key, conf) =>
  call("POST", `/dags/${id(dag)}/dagRuns`, { logical_date: null, partition_key: key, conf });

// Each gives the run whose end shows what became of it, or nothing.
const actions = {
  score: (dag, key, on) => instead(dag, on.run, () => trigger(dag, key, {})),
  decide: (dag, key, on, why) => instead(dag, on.run, () => trigger(dag, key, {
    action: on.what, ...(on.to ? { manifest: on.to } : {}), ...(on.of ? { run: on.of } : {}), ...(why ? { why } : {}),
  })),
  answer: async (dag, key, on, why) => {
    await call("PATCH", `${runOf(dag, on.run)}/taskInstances/gate/-1/hitlDetails`,
      { chosen_options: [on.what], params_input: why ? { why } : {} });
    return { dag_run_id: on.run };
  },
};

// Start a run in place of one that waits at its gate, which may be the only one that the DAG may
// have: the new one is queued until the other has ended. Nothing is decided about the night: it
// stays held until the new run says otherwise, also if this page is closed in between.
async function instead(dag, waiting, start) {
  const run = await start();
  if (waiting) {
    try {
      await call("PATCH", `${runOf(dag, waiting)}/taskInstances/gate`,
        { new_state: "skipped", note: `${run.dag_run_id} was started in its place, from the page Scoring` });
    } catch (error) {
      throw new Error(`It is asked for, but starts only when the run that waits at its gate has ended, which can't be ended from here: ${error.message}`);
    }
  }
  return run;
}

// While an answer is awaited, nothing else can be pressed about the same; for a second at least, since
// people press twice. Returns whether Airflow took it.
async function perform(label, dag, key, pressed, action) {
  const about = key ? `${dag} ${key}` : dag, focused = document.activeElement;
  for (const button of pressed) button.disabled = true;
  try {
    sessionStorage.setItem("asked", Date.now());
    const [run] = await Promise.all([action(), pause(1)]);
    if (run?.dag_run_id) {
      say(about, `${label}: asked Airflow; this page shows the result once the run has ended.`);
      followRun(about, label, dag, run.dag_run_id);
    } else {
      say(about, `${label}: asked Airflow for a backfill; the squares show how far it is.`);
    }
    return true;
  } catch (error) {
    say(about, `${label}: ${error.message}`, true);
    return false;
  } finally {
    for (const button of pressed) button.disabled = false;
    if (document.activeElement === document.body) focused.focus();
  }
}

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

// Says how a run ended; if it failed, why, in the words of its task; and what it waits for.
async function followRun(about, label, dag, run) {
  for (let waited = 2; ; waited = Math.min(waited + 1, 10)) {
    await pause(waited);
    try {
      const { state } = await call("GET", runOf(dag, run));
      if (state === "queued" && waited > 3) say(about, `${label}: ${await queued(dag)}`);
      if (state === "running" && await isAsking(dag, run)) return say(about, `${label}: the night is held; its run waits for an answer.`);
      if (state !== "success" && state !== "failed") continue;
      sessionStorage.setItem("asked", Date.now());
      await refresh("no-store");
      return state === "success" ? say(about, `${label}: done.`) : say(about, `${label} failed: ${await reason(dag, run)}`, true);
    } catch (error) {
      const isOver = [401, 403, 404].includes(error.status);
      say(about, `${label}: asked Airflow. ${error.message}; ${isOver ? "so what became of it is not known here." : "this page goes on asking what became of it."}`, true);
      if (isOver) return;
    }
  }
}

async function queued(dag) {
  const { is_paused: isPaused } = await call("GET", `/dags/${id(dag)}`);
  if (isPaused) return "queued until somebody unpauses the DAG.";
  const { dag_runs: before } = await call("GET", `/dags/${id(dag)}/dagRuns?state=running&limit=3`);
  const keys = before.map((run) => run.partition_key ?? run.dag_run_id).join(", ");
  return keys ? `queued behind the run of ${keys}, which runs or waits for an answer.` : "queued.";
}

const tasksOf = async (dag, run) => (await call("GET", `${runOf(dag, run)}/taskInstances`)).task_instances;
const isAsking = async (dag, run) =>
  (await tasksOf(dag, run)).some((task) => task.task_id === "gate" && task.state === "awaiting_input");

async function reason(dag, run) {
  const failed = (await tasksOf(dag, run)).find((task) => task.state === "failed");
  if (!failed) return "see the run in Airflow";
  const log = await call("GET", `${runOf(dag, run)}/taskInstances/${id(failed.task_id)}/logs/${failed.try_number}?full_content=true`);
  const lines = Array.isArray(log.content) ? log.content : [];
  const errors = lines.flatMap((line) => line.error_detail ?? []).map((error) => error.exc_value);
  return errors.at(-1) ?? `see the log of its task ${failed.task_id}`;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-act]");
  if (button) {
    // The second click of a double click confirms nothing.
    if (event.detail > 1 || !confirmed(button)) return;
    const { dag, key } = button.closest("[data-dag]").dataset;
    const why = asked(button)?.value.trim();
    const isTaken = await perform(button.dataset.sure, dag, key, ofNight(dag, key), () => actions[button.dataset.act](dag, key, button.dataset, why));
    if (isTaken) settle(button); else arm(button);
    return;
  }
  const link = event.target.closest("a[data-airflow], a[data-away]");
  if (link) {
    event.preventDefault();
    follow(link.href, "away" in link.dataset);
  }
});

// Airflow shows this page in a frame that may neither navigate the window nor open one.
function follow(address, away) {
  const outside = window.parent.document.createElement("a");
  outside.href = address;
  if (away) { outside.target = "_blank"; outside.rel = "noopener"; }
  window.parent.document.body.append(outside);
  outside.click();
  outside.remove();
}

// The report is in a sandbox, from where a link is followed without the reader's cookie.
window.addEventListener("message", (event) => {
  const report = document.querySelector("iframe.report");
  const open = event.source === report?.contentWindow ? String(event.data?.open) : "";
  if (/^data_docs\/index\.html(#expectation-\d+)?$/.test(open)) follow(new URL(open, report.src).href, true);
});

const ofNight = (dag, key) => [...document.querySelectorAll("button[data-act]")].filter((button) => {
  const of = button.closest("[data-dag]").dataset;
  return of.dag === dag && of.key === key;
});

// A key that is held down presses once. Escape takes a question back; what is typed for another stays.
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.repeat && event.target.matches("button, input")) event.preventDefault();
  if (event.key !== "Escape") return;
  for (const button of document.querySelectorAll("[data-sure]")) {
    const why = asked(button);
    if (!why?.value || document.activeElement === why || document.activeElement === button) settle(button);
  }
});

// The text field of a button that asks for a reason; none, if it does not ask.
const asked = (button) => button.dataset.why ? button.parentElement.querySelector("input.why") : null;

// A second press confirms: the frame may not open dialogs. Before it, one may say why.
function confirmed(button) {
  if (button.dataset.sure) return true;
  // One question at a time; what was typed for another stays.
  for (const other of document.querySelectorAll("[data-sure]")) if (!asked(other)?.value) settle(other);
  button.dataset.sure = button.textContent;
  button.textContent = "Sure?";
  const { dag, key } = button.closest("[data-dag]").dataset;
  say("question", `${dag} ${key}: ${button.dataset.ask}`);
  if (button.dataset.why) {
    const why = document.createElement("input");
    why.className = "why";
    why.placeholder = button.dataset.why;
    why.maxLength = 2000;
    why.setAttribute("aria-label", button.dataset.why);
    button.before(why);
    why.focus();
  }
  arm(button);
  return false;
}

// A question that nobody answers is taken back.
const armed = new WeakMap();
function arm(button) {
  clearTimeout(armed.get(button));
  if (!button.dataset.why) armed.set(button, setTimeout(() => { if (!button.disabled) settle(button); }, 8000));
}

function settle(button) {
  if (!button.dataset.sure) return;
  clearTimeout(armed.get(button));
  button.textContent = button.dataset.sure;
  delete button.dataset.sure;
  asked(button)?.remove();
  if (!document.querySelector("[data-sure]")) say("question", "");
}

document.addEventListener("submit", (event) => {
  if (!event.target.dataset.act) return;  // a filter, which asks for another page
  event.preventDefault();
  const form = event.target, dag = form.dataset.dag, fields = new FormData(form);
  const from = fields.get("from").trim(), to = fields.get("to").trim() || from;
  const again = fields.has("again");
  perform("Start", dag, from === to ? from : "", [event.submitter ?? form.querySelector("button")], () => from === to
    ? trigger(dag, from, again ? { force: true } : {})
    : call("POST", "/backfills", {
        dag_id: dag, from_date: moment(from), to_date: moment(to), run_backwards: false, dag_run_conf: again ? { force: true } : {},
        reprocess_behavior: again ? "completed" : "failed", max_active_runs: 1,
      }));
});

// Arrow keys walk over the squares of a group, which is one stop of the tab key: the last that was
// walked to, at first the last one that has a state.
function rove() {
  for (const group of document.querySelectorAll("[data-roving]")) {
    const squares = [...group.querySelectorAll("a.square")];
    if (squares.some((square) => square.tabIndex === 0 && square.dataset.stop)) continue;
    const first = squares.findLast((square) => !square.matches(".is-missing")) ?? squares.at(-1);
    for (const square of squares) square.tabIndex = -1;
    if (first) stopAt(first);
  }
}

function stopAt(square) {
  const before = square.closest("[data-roving]").querySelector("a.square[data-stop]");
  if (before) { before.tabIndex = -1; delete before.dataset.stop; }
  square.tabIndex = 0;
  square.dataset.stop = "yes";
}

document.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key];
  const here = event.target.closest?.("[data-roving] a.square");
  if (!step || !here || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  const all = [...here.closest("[data-roving]").querySelectorAll("a.square")];
  const column = (square) => square.closest("td")?.cellIndex;
  const isNext = event.key === "ArrowUp" || event.key === "ArrowDown" ? (square) => column(square) === column(here) : () => true;
  let at = all.indexOf(here) + step;
  while (all[at] && !isNext(all[at])) at += step;
  if (!all[at]) return;
  stopAt(all[at]);
  all[at].focus();
});

// Shift and a click (or the return key) on two squares fills in the range.
document.addEventListener("click", (event) => {
  const square = event.shiftKey && event.target.closest?.(".months a.square");
  const form = document.querySelector("form[data-act=range]");
  if (!square || !form) return;
  event.preventDefault();
  const { from, to } = form.elements, key = square.dataset.key;
  if (!from.value || to.value) [from.value, to.value] = [key, ""];
  else [from.value, to.value] = [from.value, key].sort();
  say(form.dataset.dag, to.value ? `from ${from.value} to ${to.value}: press Start to score them.` : `from ${key}; now the last one.`);
}, true);

// The parts as the server sent them, before any script has changed them.
const shown = new Map([...document.querySelectorAll("[data-live]")].map((part) => [part, part.innerHTML]));
rove();

// What tells a button or a link from all others of the page.
const identity = (element) => element.href ??
  JSON.stringify([{ ...element.closest("[data-dag]")?.dataset }, element.dataset.act, element.dataset.what, element.dataset.to]);

// Whether a person is at work in a part: types, is asked, or has marked a text.
function isUsed(part) {
  const selection = getSelection();
  const marks = !selection.isCollapsed && selection.containsNode(part, true);
  return marks || part.querySelector("[data-sure], button:disabled") || (part.contains(document.activeElement) && document.activeElement.matches("input, select"));
}

// What is shown is fetched again and replaced part by part; an answer that comes after that to a later
// question counts no more. When the page was read is its last part: it is renewed if all others are.
let asks = 0, newest = 0;
async function refresh(cache = "default") {
  const ask = ++asks, fresh = await fetched(cache);
  if (!fresh || ask < newest) return;
  newest = ask;
  let isWhole = true;
  for (const part of document.querySelectorAll("[data-live]")) {
    const other = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
    if (!other || (other.innerHTML === shown.get(part) && other.className === part.className)) continue;
    const used = isUsed(part);
    isWhole &&= !used;
    if (used || (part.dataset.live === "read" && !isWhole)) continue;
    shown.set(other, other.innerHTML);
    const focused = part.contains(document.activeElement) ? identity(document.activeElement) : null;
    part.replaceWith(other);
    const same = focused && [...other.querySelectorAll("a, button")].find((element) => identity(element) === focused);
    if (same?.closest("[data-roving]")) stopAt(same);
    same?.focus({ preventScroll: true });
  }
  rove();
  const report = document.querySelector("iframe.report"), newer = fresh.querySelector("iframe.report");
  if (!report && newer) document.querySelector("[data-live=findings]").after(newer);
  else if (newer && newer.getAttribute("src") !== report.getAttribute("src")) report.replaceWith(newer);
}

// This page as it is now; none, if it can't be read, which is said until it can.
async function fetched(cache) {
  const lost = document.getElementById("lost");
  try {
    const answer = await fetch(location.href, { credentials: "same-origin", cache });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!answer.ok || !("root" in fresh.body.dataset)) throw new Error(String(answer.status));
    lost.textContent = "";
    return fresh;
  } catch {
    const now = new Date().toISOString().slice(11, 16);
    lost.textContent ||= `Since ${now} UTC this page can't be read again: you are logged out, or Airflow does not answer. It shows what was known then. Reload it.`;
    return null;
  }
}

const isRecent = () => Date.now() - Number(sessionStorage.getItem("asked")) < 120_000;
const isMoving = () => isRecent() || document.querySelector(".is-running[data-live], [data-live] .is-running, [data-unread]");

// Often while something is scored or read, and for two minutes after something was asked for, on
// this page or on another one; else each minute, and when one comes back to the page.
async function look() {
  if (!document.querySelector("[data-live]")) return;
  if (isRecent()) await refresh("no-store");
  for (let quiet = 0; ;) {
    await pause(document.querySelector("[data-unread]") ? 0.2 : 5);
    quiet += 5;
    if (document.visibilityState !== "visible" || (quiet < 60 && !isMoving())) continue;
    quiet = 0;
    await refresh(isRecent() ? "no-store" : "default");
  }
}
look();
document.addEventListener("visibilitychange", () => { if (document.visibilityState === "visible" && document.querySelector("[data-live]")) refresh(); });
