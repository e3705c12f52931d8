// What is wrong, grouped by cause: one dead region is one alert, with those that it explains below it.
import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { ask } from "../actions.js";
import { Glyph, Mark, severityLook, severityWord } from "../glyphs.js";
import { Choice, Empty, Panel, Text, Trouble } from "../parts.js";
import { useAsked } from "../state.js";
import { alerts, coordinatorNow } from "../stream.js";
import { clock, span } from "../words.js";

const VIEWS = [
  ["now", "Now"],
  ["all", "With resolved"],
];

export function Alerts() {
  const [view, setView] = useState("now");
  const past = useAsked("StatusService", "ListAlerts", view === "all" ? { includeResolved: true } : null, 5);
  const said = view === "all" ? (past.answer ?? alerts.value) : alerts.value;
  const all = (said?.alerts ?? []).filter((each) => view === "all" || each.state !== "ALERT_STATE_RESOLVED");
  const ids = new Set(all.map((each) => each.id));
  const causes = all.filter((each) => !each.causeId || !ids.has(each.causeId));
  const firing = causes.filter((each) => each.state === "ALERT_STATE_FIRING").length;
  const aside = html`<${Choice} label="Which alerts" name="alerts-view" options=${VIEWS} value=${view} onChange=${setView} />`;
  return html`
    <${Panel} id="alerts" title="Alerts" note=${said ? (firing ? `${firing} firing` : "none firing") : ""} aside=${aside}>
      <${Trouble} error=${view === "all" ? past.error : null} />
      ${!said && html`<${Empty}>The coordinator has not said yet.</${Empty}>`}
      ${said && causes.length === 0 && html`<p class="empty"><${Mark} look=${["check", "ok"]}>Nothing is wrong, as far as the rules can tell.</${Mark}></p>`}
      <div class=${causes.length ? "scroll tall" : ""} role=${causes.length ? "region" : null} aria-label=${causes.length ? "List of alerts" : null} tabindex=${causes.length ? 0 : null}>
        <ul class="alerts">
          ${causes.map((cause) => html`<${Alert} key=${cause.id} alert=${cause} explained=${all.filter((each) => each.causeId === cause.id)} />`)}
        </ul>
      </div>
      <${Sinks} said=${said} />
    </${Panel}>
  `;
}

function Alert({ alert, explained = [] }) {
  const [shape, tone] = severityLook(alert.severity);
  const since = alert.startTime && (coordinatorNow() - Date.parse(alert.startTime)) / 1000;
  const [firing, resolved] = [alert.state === "ALERT_STATE_FIRING", alert.state === "ALERT_STATE_RESOLVED"];
  return html`
    <li class=${`alert ${resolved ? "quiet" : tone}`} data-test="alert" data-id=${alert.id} data-state=${alert.state}>
      <p class="alert-head">
        <span class=${`mark strong ${resolved ? "quiet" : tone}`}><${Glyph} shape=${resolved ? "check" : shape} />${severityWord(alert.severity)}</span>
        <strong>${alert.rule}${alert.region ? html` <span class="muted">${alert.region}</span>` : ""}</strong>
        <span class="muted" title=${clock(alert.startTime)}>${resolved ? `resolved ${clock(alert.resolveTime)}` : `${firing ? "for" : "pending for"} ${span(Math.max(0, Math.round(since)))}`}</span>
      </p>
      <p><${Text}>${alert.summary}</${Text}></p>
      ${alert.advice && !resolved && html`<p class="advice"><${Text}>${alert.advice}</${Text}></p>`}
      ${alert.acknowledgedBy && html`<p class="note">${alert.acknowledgedBy} looks after it: “${alert.acknowledgeReason}”</p>`}
      ${
        explained.length > 0 &&
        html`<details><summary>Explains ${explained.length} more</summary><ul class="alerts">${explained.map((each) => html`<${Alert} key=${each.id} alert=${each} />`)}</ul></details>`
      }
      ${firing && !alert.acknowledgedBy && !alert.causeId && html`<button type="button" class="small" aria-label=${`Acknowledge ${alert.rule} ${alert.region}…`} onClick=${() => ask("acknowledge", { alert })}>Acknowledge…</button>`}
    </li>
  `;
}

function Sinks({ said }) {
  if (!said) return null;
  const broken = Object.entries(said.brokenRules ?? {});
  return html`
    ${broken.length > 0 && html`<ul class="plain">${broken.map(([rule, why]) => html`<li key=${rule} class="warn">Rule ${rule} cannot be evaluated: ${why}</li>`)}</ul>`}
    <p class="note">
      ${
        said.sinks?.length
          ? said.sinks.map(
              (sink) =>
                html`<span key=${sink.name} class=${`chip ${sink.trouble ? "bad" : ""}`} title=${sink.address}>${sink.name}${sink.trouble ? `: ${sink.trouble}` : ` ${sink.sent ?? 0} sent`}${sink.waiting ? `, ${sink.waiting} wait` : ""}</span> `,
            )
          : said.alerts
            ? "Alerts go nowhere but here: the coordinator's settings name no sinks."
            : ""
      }
    </p>
  `;
}
