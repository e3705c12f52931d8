// The dialog before every action: first what it would do and cost, then why, then it is done, or refused with the reason.
import { html } from "htm/preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { call } from "../api.js";
import { ACTIONS, asking, commandLine } from "../actions.js";
import { Mark, moveLook } from "../glyphs.js";
import { Choice, remember, remembered, Select, Text } from "../parts.js";
import { group, readShares, regions } from "../state.js";
import { hello, status } from "../stream.js";
import { number, percent, priceText, seconds, span, word } from "../words.js";
import { Candidates } from "./moves.js";

const HOURS = [
  ["0.25", "15 min"],
  ["1", "1 h"],
  ["4", "4 h"],
  ["24", "24 h"],
];
const MODES = [
  ["planned", "Planned"],
  ["forced", "Forced"],
];
const DRY_AFTER_MS = 150;
/** A dialog may be open for long: what it would do is asked again and again. */
const DRY_EVERY_MS = 5000;
const LOOK_MS = 500;
/** Refusals that no override passes. */
const FIRM = ["ALREADY_ACTIVE", "IN_DOUBT", "FAILOVER_RUNNING", "EPOCH_CHANGED", "NOT_MEASURED", "ACTIONS_OFF"];

/** Failures after which it may have been done all the same. */
const UNKNOWN = ["UNREACHABLE", "UNREADABLE", "TIMEOUT"];

export function ActionDialog() {
  const box = useRef(null);
  const about = asking.value;
  useEffect(() => {
    if (about && !box.current.open) box.current.showModal();
    if (!about && box.current.open) box.current.close();
  }, [about]);
  return html`
    <dialog ref=${box} aria-labelledby="dialog-title" onClose=${() => (asking.value = null)} data-test="dialog">
      ${about && html`<${Form} key=${`${about.kind} ${about.region ?? about.failover?.id ?? about.alert?.id ?? ""}`} about=${about} />`}
    </dialog>
  `;
}

function Form({ about }) {
  const action = ACTIONS[about.kind];
  const [form, setForm] = useState({
    ...about,
    target: about.region ?? "",
    mode: "planned",
    hours: 1,
    reason: "",
    owner: remembered("owner") ?? "dashboard",
    passOver: [],
    epoch: status.value?.epoch ?? "",
  });
  const [dry, setDry] = useState({ busy: Boolean(action.dry), said: null, error: null });
  const [done, setDone] = useState({ busy: false, said: null, error: null });
  const [typed, setTyped] = useState("");
  const set = (key) => (value) => setForm((was) => ({ ...was, [key]: value }));
  useDryRun(action, form, setDry, setForm, !done.busy && !done.said);
  const word = action.typed?.(form, dry.said) ?? "";
  const reasoned = !action.asks.includes("reason") || form.reason.trim();
  const off = hello.value && !hello.value.actions ? hello.value.actionsOff : "";
  const ready = !off && !dry.busy && !dry.error && !done.busy && reasoned && typed === word;
  const submit = async (event) => {
    event.preventDefault();
    if (!ready) return;
    remember("owner", form.owner);
    setDone({ busy: true, said: null, error: null });
    try {
      setDone({ busy: false, said: await call(...action.request(form)), error: null });
    } catch (error) {
      setDone({ busy: false, said: null, error });
    }
  };
  const close = () => (asking.value = null);
  if (done.said) return html`<${Result} action=${action} form=${form} said=${done.said} close=${close} />`;
  return html`
    <form onSubmit=${submit}>
      ${/* The heading has the focus first: an Enter that is held down must not go on to the button. */ ""}
      <h2 id="dialog-title" tabindex="-1">${action.title(about)}</h2>
      <p class="note">${action.about(form)}</p>
      <${Fields} action=${action} form=${form} set=${set} />
      <${Preview} about=${about} action=${action} form=${form} dry=${dry} set=${set} />
      ${
        action.asks.includes("reason") &&
        html`<label class="field"><span>Why, for everyone who sees it</span><input name="reason" required autocomplete="off" maxlength="500" value=${form.reason} onInput=${(event) => set("reason")(event.currentTarget.value)} /></label>`
      }
      <label class="field"><span>Who</span><input name="owner" autocomplete="off" maxlength="100" value=${form.owner} onInput=${(event) => set("owner")(event.currentTarget.value)} /></label>
      ${
        word &&
        html`<label class="field"><span>This is dangerous: type <strong>${word}</strong> to go on</span><input name="typed" autocomplete="off" spellcheck="false" value=${typed} onInput=${(event) => setTyped(event.currentTarget.value)} /></label>`
      }
      <${Line} words=${action.words(form)} />
      ${off && html`<p class="refusal" role="alert">${off}</p>`}
      ${done.error && html`<${Refusal} error=${done.error} />`}
      ${
        UNKNOWN.includes(done.error?.reason) &&
        html`<p class="refusal warn" role="alert" data-test="unknown">It may have been done all the same: look at the page before you ask again.</p>`
      }
      <div class="actions end">
        <button type="button" onClick=${close}>Close</button>
        <button type="submit" class=${`primary ${word ? "danger" : ""}`} disabled=${!ready} data-test="do">${done.busy ? "Asking…" : action.does(form)}</button>
      </div>
    </form>
  `;
}

/** Asks what it would do, at once, whenever the form says something else, and every few seconds until it is done. */
function useDryRun(action, form, setDry, setForm, open) {
  const key = JSON.stringify([form.target, form.mode, form.hours, form.passOver]);
  useEffect(() => {
    if (!action.dry || !open) return undefined;
    let over = false;
    let timer = 0;
    setDry((was) => ({ ...was, busy: true }));
    const look = async () => {
      const epoch = status.value?.epoch ?? "";
      try {
        const said = await call(...action.dry(form));
        if (over) return;
        setForm((was) => ({ ...was, epoch }));
        setDry((was) => ({ busy: false, said, error: null, changed: !was.busy && (was.changed || gist(was.said) !== gist(said)) }));
      } catch (error) {
        if (over) return;
        setDry({ busy: false, said: null, error });
      }
      timer = setTimeout(look, DRY_EVERY_MS);
    };
    timer = setTimeout(look, DRY_AFTER_MS);
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [key, open]);
}

const gist = (said) => JSON.stringify([said?.steps, said?.failover?.toRegion]);

function Fields({ action, form, set }) {
  const others = regions.value.filter((each) => !each.active).map((each) => [each.name, each.name]);
  return html`
    <div class="fields">
      ${action.asks.includes("target") && html`<${Select} label="To" value=${form.target} onChange=${set("target")} options=${[["", "the best region"], ...others]} />`}
      ${action.asks.includes("mode") && html`<${Choice} label="How" name="mode" options=${MODES} value=${form.mode} onChange=${set("mode")} />`}
      ${
        action.asks.includes("hours") &&
        html`<span class="muted">For</span><${Choice} label="For how long" name="hours" options=${HOURS} value=${String(form.hours)} onChange=${(value) => set("hours")(Number(value))} />`
      }
    </div>
  `;
}

function Preview({ about, action, form, dry, set }) {
  const { said, error } = dry;
  const pass = (rule) =>
    set("passOver")(form.passOver.includes(rule) ? form.passOver.filter((each) => each !== rule) : [...form.passOver, rule]);
  const firm = !action.passes || error?.code !== "FAILED_PRECONDITION" || FIRM.includes(error.reason);
  const rules = [...new Set([...form.passOver, ...(error && !firm ? [error.reason] : [])])];
  return html`
    <section class="preview" aria-label="What it would do" aria-busy=${dry.busy} data-test="preview">
      <h3>${action.dry ? "What it would do" : "What is so now"}</h3>
      ${action.dry && dry.busy && !said && !error && html`<p class="muted">Asking the coordinator…</p>`}
      ${error && html`<${Refusal} error=${error} />`}
      ${rules.map((rule) => html`<label key=${rule} class="check"><input type="checkbox" checked=${form.passOver.includes(rule)} onChange=${() => pass(rule)} /> Pass over the rule ${rule}</label>`)}
      ${dry.changed && html`<p class="warn" role="status">This has changed since the dialog was opened.</p>`}
      ${said?.steps?.length > 0 && html`<ol class="steps" aria-live="polite" data-test="steps">${said.steps.map((step) => html`<li key=${step}>${step}</li>`)}</ol>`}
      <ul class="plain costs">${costs(about, said).map((each) => html`<li key=${each}>${each}</li>`)}</ul>
      ${said?.failover?.explanation && html`<p class="note">${said.failover.explanation}.</p>`}
      ${said?.failover?.candidates?.length > 1 && html`<details><summary>Candidates</summary><${Candidates} candidates=${said.failover.candidates} /></details>`}
    </section>
  `;
}

function costs(about, said) {
  const found = [];
  const now = status.value;
  const region = now?.regions.find((each) => each.name === about.region);
  const wait = seconds(said?.longestWait);
  if (wait !== null) found.push(`Without an active region for ${span(wait)} at most.`);
  const price = said?.price ?? said?.failover?.price ?? about.failover?.price;
  if (price) found.push(`Price: ${priceText(price)}.`);
  if (region && ["drain", "cordon", "undrain", "uncordon"].includes(about.kind)) {
    const share = readShares.value.get(region.name) ?? 0;
    found.push(
      `${region.name} is ${word(region.status, "REGION_STATUS_")}${region.active ? " and active" : ""}, with ${percent(share)} of the reads and room for ${region.capacity ? `${number(region.capacity)} requests per second` : "nobody knows how many requests"}.`,
    );
  }
  if (about.kind === "cordon") {
    const rest = now.regions.filter((each) => each.name !== region?.name && !each.cordoned && each.status === "REGION_STATUS_HEALTHY");
    found.push(
      rest.length
        ? `Healthy and not cordoned are then: ${rest.map((each) => each.name).join(", ")}.`
        : "No other region is healthy and not cordoned.",
    );
  }
  if (about.kind === "pause" || about.kind === "resume")
    found.push(now.activeRegion ? `${now.activeRegion} is active at epoch ${now.epoch}.` : "No region is active.");
  if (about.alert) found.push(about.alert.summary);
  return found;
}

const Refusal = ({ error }) => html`
  <div class="refusal" role="alert" data-test="refusal">
    <p><${Mark} look=${["cross", "bad"]} strong>${error.code === "FAILED_PRECONDITION" ? `Refused: ${error.reason}` : error.reason || error.code}</${Mark}></p>
    <p><${Text}>${error.message}</${Text}></p>
    ${(error.fields ?? []).length > 1 && html`<ul>${error.fields.map((field) => html`<li key=${field.path}><code>${field.path}</code> ${field.advice}</li>`)}</ul>`}
  </div>
`;

function Line({ words }) {
  const [copied, setCopied] = useState(false);
  const line = commandLine(words);
  const copy = () =>
    navigator.clipboard?.writeText(line).then(
      () => setCopied(true),
      () => setCopied(false),
    );
  return html`
    <div class="line">
      <span class="label">The same on the command line</span>
      <div><code data-test="line">${line}</code><button type="button" class="small" onClick=${copy}>${copied ? "Copied" : "Copy"}</button></div>
    </div>
  `;
}

function Result({ action, form, said, close }) {
  const heading = useRef(null);
  const [move, setMove] = useState(said.failover?.id ? said.failover : null);
  useEffect(() => heading.current?.focus(), []);
  useEffect(() => {
    if (!move || move.endTime) return undefined;
    const timer = setTimeout(async () => {
      try {
        setMove((await call("ElectionService", "GetFailover", { group: group.value, id: move.id })).failover);
      } catch {
        setMove({ ...move });
      }
    }, LOOK_MS);
    return () => clearTimeout(timer);
  }, [move]);
  return html`
    <div data-test="result">
      <h2 id="dialog-title" tabindex="-1" ref=${heading}>${action.title(form)}</h2>
      ${
        move
          ? html`
            <p role="status"><${Mark} look=${moveLook(move.state)} strong>${word(move.state, "FAILOVER_STATE_")}</${Mark}> ${move.fromRegion || "nobody"} → ${move.toRegion || "…"}</p>
            ${move.endTime && move.state === "FAILOVER_STATE_SUCCEEDED" && html`<p>${move.toRegion} is active at epoch ${move.epoch}, after ${span((Date.parse(move.endTime) - Date.parse(move.startTime)) / 1000)}.</p>`}
            ${move.endTime && move.state !== "FAILOVER_STATE_SUCCEEDED" && html`<p>${move.explanation || move.cause}</p>`}
            ${!move.endTime && html`<p class="muted">It goes on whether this stays open or not; the panel of moves shows it.</p>`}
          `
          : html`<p role="status"><${Mark} look=${["check", "ok"]} strong>Done.</${Mark}></p>`
      }
      ${said.steps?.length > 0 && html`<ol class="steps">${said.steps.map((step) => html`<li key=${step}>${step}</li>`)}</ol>`}
      <div class="actions end"><button type="button" class="primary" onClick=${close}>Close</button></div>
    </div>
  `;
}
