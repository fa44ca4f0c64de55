"use strict";
// Buttons call Airflow's own API, with the cookie and the rights of the user.

const theme = localStorage.getItem("theme");
if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;

const message = document.getElementById("message");
const say = (text, bad) => { message.textContent = text; message.className = bad ? "is-failed" : ""; };

async function call(method, path, body) {
  const answer = await fetch(document.body.dataset.root + "/api/v2" + path, {
    method, credentials: "same-origin", headers: { Accept: "application/json", "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  if (answer.ok) return answer.json();
  let detail = answer.statusText;
  try { detail = (await answer.json()).detail ?? detail; } catch { /* no JSON */ }
  if (typeof detail !== "string") detail = JSON.stringify(detail);
  const why = answer.status === 403 ? "you may not do this" : detail;
  throw new Error(`Airflow refused (${answer.status}): ${why}`);
}

const id = encodeURIComponent;
const moment = (key) => key + (key.includes("T") ? ":00:00Z" : "T00:00:00Z");
const trigger = (dag, key, conf) =>
  call("POST", `/dags/${id(dag)}/dagRuns`, { logical_date: null, partition_key: key, conf });

const respond = (dag, run, option, why) =>
  call("PATCH", `/dags/${id(dag)}/dagRuns/${id(run)}/taskInstances/gate/-1/hitlDetails`,
    { chosen_options: [option], params_input: why ? { why } : {} });

// Each gives the run whose end shows what became of it, or nothing.
const actions = {
  score: async (dag, key, on) => {
    await free(dag, on.run, "it is scored again");
    return trigger(dag, key, {});
  },
  decide: async (dag, key, on, why) => {
    await free(dag, on.run, `the action ${on.what} was asked for`);
    return trigger(dag, key, { action: on.what, ...(on.to ? { manifest: on.to } : {}), ...(why ? { why } : {}) });
  },
  answer: async (dag, key, on, why) => {
    await respond(dag, on.run, on.what, why);
    return { dag_run_id: on.run };
  },
};

// A run that waits at its gate may be the only one that the DAG may have: it is answered with no
// and has ended before another is started.
async function free(dag, run, why) {
  if (!run) return;
  await respond(dag, run, "Reject", why);
  say("The run that waited for an answer ends first.");
  await ended(dag, run);
}

async function ended(dag, run, meanwhile = async () => {}) {
  for (let waited = 2; ; waited = Math.min(waited + 1, 10)) {
    await pause(waited);
    const { state } = await call("GET", `/dags/${id(dag)}/dagRuns/${id(run)}`);
    await meanwhile();
    if (state === "success" || state === "failed") return state;
  }
}

async function perform(label, dag, action) {
  try {
    sessionStorage.setItem("asked", Date.now());
    const run = await action();
    say(`${label}: asked Airflow; this page shows the result once the run has ended.`);
    if (run?.dag_run_id) followRun(label, dag, run.dag_run_id);
  } catch (error) {
    say(error.message, true);
  }
}

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

// Says how a run ended; if it failed, why, in the words of its task.
async function followRun(label, dag, run) {
  try {
    const state = await ended(dag, run, () => refresh("no-store"));
    if (state === "success") return say(`${label}: done.`);
    say(`${label} failed: ${await reason(`/dags/${id(dag)}/dagRuns/${id(run)}`)}`, true);
  } catch (error) {
    say(error.message, true);
  }
}

async function reason(path) {
  const { task_instances: tasks } = await call("GET", `${path}/taskInstances`);
  const failed = tasks.find((task) => task.state === "failed");
  if (!failed) return "see the run in Airflow";
  const log = await call("GET", `${path}/taskInstances/${id(failed.task_id)}/logs/${failed.try_number}?full_content=true`);
  const lines = Array.isArray(log.content) ? log.content : [];
  const errors = lines.flatMap((line) => line.error_detail ?? []).map((error) => error.exc_value);
  return errors.at(-1) ?? `see the log of its task ${failed.task_id}`;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-act]");
  if (button) {
    const { dag, key } = button.closest("[data-dag]").dataset;
    const why = asked(button)?.value.trim();
    if (event.detail < 2 && confirmed(button)) {  // the second click of a double click confirms nothing
      perform(button.textContent, dag, () => actions[button.dataset.act](dag, key, button.dataset, why));
    }
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

// The text field of a button that asks for a reason; none, if it does not ask.
const asked = (button) => button.dataset.why ? button.parentElement.querySelector("input.why") : null;

// A second press confirms: the frame may not open dialogs. Before it, one may say why.
function confirmed(button) {
  const sure = button.dataset.sure;
  if (sure) {
    settle(button, sure);
    return true;
  }
  button.dataset.sure = button.textContent;
  button.textContent = "Sure?";
  say(button.dataset.ask);
  if (button.dataset.why) {
    const why = document.createElement("input");
    why.className = "why";
    why.placeholder = button.dataset.why;
    why.setAttribute("aria-label", button.dataset.why);
    button.before(why);
    why.focus();
    return false;
  }
  setTimeout(() => settle(button, button.dataset.sure), 8000);
  return false;
}

function settle(button, label) {
  if (label) button.textContent = label;
  delete button.dataset.sure;
  asked(button)?.remove();
}

document.addEventListener("submit", (event) => {
  if (!event.target.dataset.act) return;  // a filter, which asks for another page
  event.preventDefault();
  const form = event.target, dag = form.dataset.dag, fields = new FormData(form);
  const from = fields.get("from").trim(), to = fields.get("to").trim() || from;
  const again = fields.has("again");
  perform("Start", dag, () => from === to
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
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const here = event.target.closest?.("[data-roving] a.square");
  if (!step || !here || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  const all = [...here.closest("[data-roving]").querySelectorAll("a.square")];
  const next = all[all.indexOf(here) + step];
  if (!next) return;
  stopAt(next);
  next.focus();
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
  say(to.value ? `From ${from.value} to ${to.value}: press Start to score them.` : `From ${key}; now the last one.`);
}, true);

// The parts as the server sent them, before any script has changed them.
const shown = new Map([...document.querySelectorAll("[data-live]")].map((part) => [part, part.innerHTML]));
rove();

// What is shown is fetched again and replaced part by part; what is being typed or confirmed stays.
async function refresh(cache = "default") {
  const answer = await fetch(location.href, { credentials: "same-origin", cache });
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const other = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
    const focused = part.contains(document.activeElement) && !document.activeElement.matches("button");
    const used = focused || part.querySelector("[data-sure]");
    if (other && !used && other.innerHTML !== shown.get(part)) {
      shown.set(other, other.innerHTML);
      const pressed = part.contains(document.activeElement) ? document.activeElement.textContent : null;
      part.replaceWith(other);
      if (pressed) [...other.querySelectorAll("button")].find((button) => button.textContent === pressed)?.focus();
    }
  }
  rove();
  const report = document.querySelector("iframe.report"), newer = fresh.querySelector("iframe.report");
  if (!report && newer) document.querySelector("main").append(newer);
  else if (newer && newer.getAttribute("src") !== report.getAttribute("src")) report.replaceWith(newer);
}

// While something is being scored.
async function look() {
  await pause(document.querySelector("[data-unread]") ? 0.2 : 5);
  if (document.visibilityState === "visible" && document.querySelector(".is-running[data-live], [data-live] .is-running, [data-unread]")) {
    try { await refresh(); } catch { /* next time */ }
  }
  look();

// What was asked for on another page may have changed what this one shows.
if (Date.now() - Number(sessionStorage.getItem("asked")) < 300000) refresh("no-store").catch(() => {});
}
look();

// What was asked for on another page may have changed what this one shows.
if (Date.now() - Number(sessionStorage.getItem("asked")) < 300000) refresh("no-store").catch(() => {});
