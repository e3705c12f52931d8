// What operators set against the policy, until when, who and why.
import { html } from "htm/preact";
import { ask } from "../actions.js";
import { Empty, Panel } from "../parts.js";
import { heardAt, status, tick } from "../stream.js";
import { clock, countdown, percent, seconds, word } from "../words.js";

const ENDS = {
  OVERRIDE_KIND_DRAIN: ["undrain", "Undrain"],
  OVERRIDE_KIND_CORDON: ["uncordon", "Uncordon"],
  OVERRIDE_KIND_PAUSE: ["resume", "Resume"],
};

export function Overrides() {
  const all = status.value?.overrides ?? [];
  return html`
    <${Panel} id="overrides" title="Overrides" note="each ends by itself">
      ${
        all.length === 0
          ? html`<${Empty}>None: the policy alone decides.</${Empty}>`
          : html`<ul class="plain overrides">${all.map((each) => html`<${Row} key=${`${each.kind} ${each.region}`} override=${each} />`)}</ul>`
      }
    </${Panel}>
  `;
}

function Row({ override }) {
  const left = Math.max(0, (seconds(override.remaining) ?? 0) - (tick.value - heardAt.value) / 1000);
  const end = ENDS[override.kind];
  const pin = Object.entries(override.weights ?? {}).map(([name, share]) => `${name} ${percent(share)}`);
  const how = word(override.drainState, "DRAIN_STATE_");
  return html`
    <li data-test="override" data-kind=${override.kind} data-region=${override.region}>
      <p>
        <strong>${word(override.kind, "OVERRIDE_KIND_")} ${override.region || (override.kind === "OVERRIDE_KIND_PAUSE" ? "" : "all regions")}</strong>
        ${how && how !== "none" && html` <span class="chip warn">${how}${override.trafficOnly ? ", traffic only" : ""}</span>`}
        ${pin.length > 0 && html` <span class="muted">${pin.join(", ")}</span>`}
      </p>
      <p class="ends" title=${`at ${clock(override.expireTime)}`}>ends in <strong data-test="ends">${countdown(left)}</strong></p>
      <p class="who"><span class="muted">${override.owner || "somebody"}:</span> “${override.reason}”</p>
      ${
        end
          ? html`<button type="button" class="small" aria-label=${`${end[1]} ${override.region}…`} onClick=${() => ask(end[0], { region: override.region })}>${end[1]}…</button>`
          : html`<code>primacy unpin${override.region ? ` --from ${override.region}` : ""}</code>`
      }
    </li>
  `;
}
