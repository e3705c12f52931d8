// Round trips between regions, as agents measure them.
import { html } from "htm/preact";
import { Empty, Panel, Scroll } from "../parts.js";
import { regions } from "../state.js";
import { roundTrips } from "../sights.js";
import { status } from "../stream.js";
import { span } from "../words.js";

export function RoundTrips() {
  const names = regions.value.map((region) => region.name);
  const trips = roundTrips(status.value);
  const longest = Math.max(1e-9, ...[...trips.values()].map((each) => each.rtt ?? 0));
  return html`
    <${Panel} id="rtt" title="Round trips" note="row to column and back, smoothed">
      ${
        trips.size === 0
          ? html`<${Empty}>No agent has looked at another region yet.</${Empty}>`
          : html`
            <${Scroll} label="Table of round trips" class="tall">
              <table class="matrix">
                <thead>
                  <tr><th scope="col"><span class="unseen">From</span></th>${names.map((name) => html`<th key=${name} scope="col">${name}</th>`)}</tr>
                </thead>
                <tbody>
                  ${names.map(
                    (from) => html`
                      <tr key=${from}>
                        <th scope="row" title=${from}>${from}</th>
                        ${names.map((to) => html`<${Cell} key=${to} trip=${from === to ? null : trips.get(`${from} ${to}`)} same=${from === to} longest=${longest} />`)}
                      </tr>
                    `,
                  )}
                </tbody>
              </table>
            </${Scroll}>
          `
      }
    </${Panel}>
  `;
}

function Cell({ trip, same, longest }) {
  if (same) return html`<td class="same"><span class="unseen">itself</span></td>`;
  if (!trip) return html`<td class="muted">–</td>`;
  if (!trip.reachable) return html`<td class="cut" title=${`looked ${span(trip.age)} ago`}>✕<span class="unseen"> no answer</span></td>`;
  const heat = Math.round(6 + (30 * trip.rtt) / longest);
  return html`<td style=${{ background: `color-mix(in srgb, var(--accent) ${heat}%, transparent)` }} title=${`looked ${span(trip.age)} ago`}>${span(trip.rtt)}</td>`;
}
