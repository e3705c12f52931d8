// If the active region died now: who would take over, at what price, and who could not.
import { html } from "htm/preact";
import { Mark } from "../glyphs.js";
import { Empty, Panel, Swatch } from "../parts.js";
import { ifDown, prospect, useReadiness } from "../readiness.js";
import { activeRegion, colourOf, regions } from "../state.js";
import { priceText } from "../words.js";

const SHAPES = { ok: "check", warn: "triangle", bad: "cross", quiet: "dots" };
const OTHERS_MAX = 8;

export const ProspectMark = ({ prospect: { tone, text } }) => html`<${Mark} look=${[SHAPES[tone], tone]}>${text}</${Mark}>`;

export function Readiness() {
  useReadiness();
  const active = activeRegion.value;
  const then = active ? ifDown(active) : null;
  const others = (then?.candidates ?? []).filter((each) => each.region !== active);
  return html`
    <${Panel} id="readiness" title="Readiness" note=${active && `if ${active} died now`}>
      ${!active && html`<${Empty}>${regions.value.length ? "No region is active, so there is none to lose." : "There are no regions yet."}</${Empty}>`}
      ${
        active &&
        html`
        <p class="lead-line" data-test="readiness"><${ProspectMark} prospect=${prospect(active, then)} /></p>
        <ol class="plain places">
          ${others.slice(0, OTHERS_MAX).map(
            (each) => html`
              <li key=${each.region}>
                <span class="muted">${each.rank || "–"}</span>
                <span><${Swatch} colour=${colourOf(each.region)} /><strong>${each.region}</strong></span>
                ${
                  each.rule
                    ? html`<span><${Mark} look=${each.soft ? ["triangle", "warn"] : ["cross", "bad"]}>${each.rule}</${Mark}> <span class="muted">${each.detail}</span></span>`
                    : html`<span class="muted">${each.price ? priceText(each.price) : "eligible"}</span>`
                }
              </li>
            `,
          )}
        </ol>
        ${others.length > OTHERS_MAX && html`<p class="note">and ${others.length - OTHERS_MAX} more</p>`}
      `
      }
    </${Panel}>
  `;
}
