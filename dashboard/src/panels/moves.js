// Moves of the lease: the one under way, and those before, each with its steps, its reasons and who was refused.
import { html } from "htm/preact";
import { useEffect, useRef } from "preact/hooks";
import { ask } from "../actions.js";
import { Mark, moveLook } from "../glyphs.js";
import { Empty, Panel, Scroll, Trouble } from "../parts.js";
import { useAsked } from "../state.js";
import { coordinatorNow, status } from "../stream.js";
import { clock, number, priceText, seconds, span, word } from "../words.js";

const SHOWN = 20;
const CANCELLABLE = ["FAILOVER_STATE_FREEZING", "FAILOVER_STATE_AWAITING_APPROVAL"];

export function Moves() {
  const { answer, error, again } = useAsked("ElectionService", "ListFailovers", { pageSize: SHOWN }, 10);
  const running = status.value?.failover;
  const mark = `${running?.id} ${running?.state} ${status.value?.epoch}`;
  const before = useRef(mark);
  useEffect(() => {
    if (before.current !== mark) again();
    before.current = mark;
  }, [mark]);
  const past = (answer?.failovers ?? []).filter((each) => each.id !== running?.id);
  return html`
    <${Panel} id="moves" title="Moves of the lease">
      ${running && html`<${Running} move=${running} />`}
      <${Trouble} error=${error} />
      ${!running && answer && past.length === 0 && html`<${Empty}>There was none yet.</${Empty}>`}
      <div class="scroll tall" role="region" aria-label="Moves" tabindex="0">
        ${past.map((move, index) => html`<${Past} key=${move.id} move=${move} open=${index === 0} />`)}
      </div>
    </${Panel}>
  `;
}

const route = (move) => `${move.fromRegion || "nobody"} → ${move.toRegion || "nobody yet"}`;
const kind = (move) => word(move.kind, "FAILOVER_KIND_");

function Running({ move }) {
  const cancellable = CANCELLABLE.includes(move.state);
  return html`
    <div class="running" data-test="running">
      <p><${Mark} look=${moveLook(move.state)} strong>${word(move.state, "FAILOVER_STATE_")}</${Mark}> <strong>${route(move)}</strong> <span class="muted">${kind(move)} ${move.id}</span></p>
      <p>${move.cause}${move.reason ? ` “${move.reason}”` : ""}</p>
      <${Timeline} move=${move} />
      <div class="actions">
        ${move.state === "FAILOVER_STATE_AWAITING_APPROVAL" && html`<button type="button" class="primary small" onClick=${() => ask("approve", { failover: move })}>Approve…</button>`}
        ${cancellable && html`<button type="button" class="small" onClick=${() => ask("cancel", { failover: move })}>Give up…</button>`}
      </div>
    </div>
  `;
}

function Past({ move, open }) {
  const took = (Date.parse(move.endTime) - Date.parse(move.startTime)) / 1000;
  return html`
    <details class="move" open=${open} data-test="move" data-id=${move.id} data-state=${move.state}>
      <summary>
        <${Mark} look=${moveLook(move.state)} strong>${word(move.state, "FAILOVER_STATE_")}</${Mark}>
        <strong>${route(move)}</strong>
        <span class="muted">${kind(move)}, ${move.epoch !== "0" ? `epoch ${move.epoch}, ` : ""}${clock(move.startTime)}, took ${span(took)}</span>
      </summary>
      <p>${move.cause}.${move.reason ? html` ${move.owner || "somebody"}: “${move.reason}”` : ""}</p>
      <${Timeline} move=${move} />
      ${move.explanation && html`<p class="reason">${move.explanation}.</p>`}
      <${Candidates} candidates=${move.candidates} />
      ${move.price && html`<p class="note">Price: ${priceText(move.price)}.${move.approvedBy ? ` Approved by ${move.approvedBy}.` : ""}</p>`}
      ${move.overrideRules.length > 0 && html`<p class="note warn">Passed over: ${move.overrideRules.join(", ")}</p>`}
      ${move.evidence.length > 0 && html`<ul class="evidence">${move.evidence.map((each) => html`<li key=${each}>${each}</li>`)}</ul>`}
      ${move.hooks.length > 0 && html`<ul class="evidence">${move.hooks.map((each) => html`<li key=${`${each.agent} ${each.hook}`}>${each.hook} of ${each.agent} ${each.outcome} after ${span(seconds(each.duration))}${each.output ? `: ${each.output}` : ""}</li>`)}</ul>`}
    </details>
  `;
}

/** Steps as bars: where the time went. Steps of no length are a mark. */
function Timeline({ move }) {
  const begin = Date.parse(move.startTime);
  const end = move.endTime ? Date.parse(move.endTime) : coordinatorNow();
  const first = Math.min(begin, ...move.phases.map((each) => Date.parse(each.startTime)));
  const whole = Math.max(end - first, 1);
  return html`
    <ol class="timeline">
      ${move.phases.map((phase) => {
        const from = Date.parse(phase.startTime) - first;
        const long = seconds(phase.duration) ?? Math.max(0, (coordinatorNow() - Date.parse(phase.startTime)) / 1000);
        const left = Math.min(98.5, (from / whole) * 100);
        const width = Math.max(1.5, Math.min(100 - left, ((long * 1000) / whole) * 100));
        return html`
          <li key=${`${phase.name} ${phase.startTime}`} class=${phase.endTime ? "" : "now"}>
            <span class="phase">${phase.name.replaceAll("-", " ")}</span>
            <span class="track" aria-hidden="true"><span style=${{ marginLeft: `${left}%`, width: `${width}%` }}></span></span>
            <span class="long">${span(long)}</span>
            ${phase.note && html`<span class="muted phase-note">${phase.note}</span>`}
          </li>
        `;
      })}
    </ol>
  `;
}

export function Candidates({ candidates }) {
  if (!candidates?.length) return null;
  return html`
    <${Scroll} label="Candidates">
      <table class="grid">
        <thead><tr><th scope="col">Place</th><th scope="col">Region</th><th scope="col">Rule against it</th><th scope="col">Price</th><th scope="col">Compared</th></tr></thead>
        <tbody>
          ${candidates.map(
            (each) => html`
              <tr key=${each.region} class=${each.eligible ? "" : "quiet"}>
                <td>${each.rank || "–"}</td>
                <th scope="row">${each.region}</th>
                <td class="wrap">${each.rule ? html`<${Mark} look=${each.soft ? ["triangle", "warn"] : ["cross", "bad"]}>${each.rule}</${Mark}> ${each.detail}` : html`<span class="muted">none</span>`}</td>
                <td>${each.price ? priceText(each.price) : ""}</td>
                <td class="muted">${Object.entries(each.scores)
                  .map(([name, value]) => `${name.replaceAll("_", " ")} ${number(value)}`)
                  .join(", ")}</td>
              </tr>
            `,
          )}
        </tbody>
      </table>
    </${Scroll}>
  `;
}
