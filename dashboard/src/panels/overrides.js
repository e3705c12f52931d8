// What operators set against the policy, until when, who and why.
import { html } from "htm/preact";
import { ask } from "../actions.js";
import { Empty, Panel, Scroll } from "../parts.js";
import { heardAt, status, tick } from "../stream.js";
import { clock, countdown, percent, seconds, word } from "../words.js";

const ENDS = { OVERRIDE_KIND_DRAIN: ["undrain", "Undrain"], OVERRIDE_KIND_CORDON: ["uncordon", "Uncordon"], OVERRIDE_KIND_PAUSE: ["resume", "Resume"] };

export function Overrides() {
  const all = status.value?.overrides ?? [];
  return html`
    <${Panel} id="overrides" title="Overrides" note="each ends by itself">
      ${all.length === 0
        ? html`<${Empty}>None: the policy alone decides.</${Empty}>`
        : html`
            <${Scroll} label="Table of overrides">
              <table class="grid">
                <thead>
                  <tr><th scope="col">What</th><th scope="col">Region</th><th scope="col">Ends in</th><th scope="col">Who</th><th scope="col">Why</th><th scope="col">Action</th></tr>
                </thead>
                <tbody>${all.map((each) => html`<${Row} key=${`${each.kind} ${each.region}`} override=${each} />`)}</tbody>
              </table>
            </${Scroll}>
          `}
    </${Panel}>
  `;
}

function Row({ override }) {
  const left = Math.max(0, (seconds(override.remaining) ?? 0) - (tick.value - heardAt.value) / 1000);
  const end = ENDS[override.kind];
  const pin = Object.entries(override.weights ?? {}).map(([name, share]) => `${name} ${percent(share)}`);
  const how = word(override.drainState, "DRAIN_STATE_");
  return html`
    <tr data-test="override">
      <th scope="row">
        ${word(override.kind, "OVERRIDE_KIND_")}
        ${how && how !== "none" && html` <span class="muted">${how}${override.trafficOnly ? ", traffic only" : ""}</span>`}
        ${pin.length > 0 && html` <span class="muted">${pin.join(", ")}</span>`}
      </th>
      <td>${override.region || "all"}</td>
      <td><span title=${`at ${clock(override.expireTime)}`}>${countdown(left)}</span></td>
      <td>${override.owner || "–"}</td>
      <td class="wrap">${override.reason}</td>
      <td>
        ${end
          ? html`<button type="button" class="small" aria-label=${`${end[1]} ${override.region}…`} onClick=${() => ask(end[0], { region: override.region })}>${end[1]}…</button>`
          : html`<code>primacy unpin${override.region ? ` --from ${override.region}` : ""}</code>`}
      </td>
    </tr>
  `;
}
