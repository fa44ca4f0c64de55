"use strict";
// Buttons call Airflow's own API, with the cookie and the rights of the user.

const theme = localStorage.getItem("theme");
if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;

const message = document.getElementById("message");
const say = (text, bad) => { message.textContent = text; message.className = bad ? "is-failed" : ""; };

async function call(method, path, body) {
  const answer = await fetch(document.body.dataset.root + "/api/v2" + path, {
    method, credentials: "same-origin", headers: { "Content-Type": "application/json" },
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

const actions = {
  score: (dag, key) => trigger(dag, key, {}),
  decide: (dag, key, on) =>
    trigger(dag, key, { action: on.what, ...(on.to ? { manifest: on.to } : {}) }),
  answer: (dag, key, on) =>
    call("PATCH", `/dags/${id(dag)}/dagRuns/${id(on.run)}/taskInstances/gate/-1/hitlDetails`,
      { chosen_options: [on.what], params_input: {} }),
};

async function perform(label, action) {
  try {
    await action();
    say(`${label}: asked Airflow; this page shows the result once the run has ended.`);
    sessionStorage.setItem("reloads" + location.pathname, "24");
    reloadLater();
  } catch (error) {
    say(error.message, true);
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-act]");
  if (button) {
    const { dag, key } = button.closest("[data-dag]").dataset;
    if (confirmed(button)) perform(button.textContent, () => actions[button.dataset.act](dag, key, button.dataset));
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

// A second press confirms: the frame may not open dialogs.
function confirmed(button) {
  const sure = button.dataset.sure;
  if (sure) {
    settle(button, sure);
    return true;
  }
  button.dataset.sure = button.textContent;
  button.textContent = "Sure?";
  say(button.dataset.ask);
  setTimeout(() => settle(button, button.dataset.sure), 8000);
  return false;
}

function settle(button, label) {
  if (label) button.textContent = label;
  delete button.dataset.sure;
}

document.addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target, dag = form.dataset.dag, fields = new FormData(form);
  const from = fields.get("from").trim(), to = fields.get("to").trim() || from;
  const again = fields.has("again");
  perform("Start", () => from === to
    ? trigger(dag, from, again ? { force: true } : {})
    : call("POST", "/backfills", {
        dag_id: dag, from_date: moment(from), to_date: moment(to), run_backwards: false, dag_run_conf: again ? { force: true } : {},
        reprocess_behavior: again ? "completed" : "failed", max_active_runs: 1,
      }));
});

// Arrow keys walk over the squares.
document.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const here = event.target.closest?.("a.square");
  if (!step || !here) return;
  const all = [...document.querySelectorAll("a.square")];
  all[all.indexOf(here) + step]?.focus();
  event.preventDefault();
});

// After a button, the page reloads every 5 seconds for two minutes; while it scores, always.
function reloadLater() {
  const mine = "reloads" + location.pathname;
  const left = Number(sessionStorage.getItem(mine) ?? 0);
  if (left > 0) sessionStorage.setItem(mine, String(left - 1));
  if (left > 0 || document.querySelector(".verdict.is-running")) setTimeout(() => location.reload(), 5000);
}
reloadLater();
