// How the group and each region did, beside an earlier window, and what is left of the error budgets.
import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { Bar, Choice, Empty, Panel, Scroll, Swatch, Trouble } from "../parts.js";
import { colourOf, useAsked } from "../state.js";
import { number, percent, seconds, span } from "../words.js";

const WINDOWS = [
  ["3600", "1 h"],
  ["21600", "6 h"],
  ["86400", "24 h"],
  ["604800", "7 d"],
];
/** [title, of a Performance, in words, whether more is better; null: neither] */
const COLUMNS = [
  ["Available", (each) => each?.availability, percent, true],
  ["Errors", (each) => each?.errorRate, percent, false],
  ["p50", (each) => seconds(each?.latencyP50), span, false],
  ["p90", (each) => seconds(each?.latencyP90), span, false],
  ["p99", (each) => seconds(each?.latencyP99), span, false],
  ["Requests", (each) => each?.throughput, (value) => (value === undefined || value === null ? "–" : `${number(value)}/s`), null],
  ["Load", (each) => each?.saturation, percent, null],
  ["Peak load", (each) => each?.saturationMax, percent, false],
  ["Most lag", (each) => seconds(each?.lagMax), span, false],
];

export function Performance() {
  const [windowS, setWindow] = useState("3600");
  const { answer, error, old } = useAsked("StatusService", "GetPerformance", { window: `${windowS}s` }, 10);
  const aside = html`<${Choice} label="Window" name="performance-window" options=${WINDOWS} value=${windowS} onChange=${setWindow} />`;
  return html`
    <${Panel} id="performance" title="Performance" wide note="beside the window before" aside=${aside}>
      ${error && html`<${Trouble} error=${error} />`}
      ${!error && !answer && html`<${Empty}>Asking…</${Empty}>`}
      ${
        answer &&
        html`
        <div class=${old ? "old" : ""}>
          <${Table} answer=${answer} />
          <${Moves} now=${answer.failovers} before=${answer.failoversBefore} />
          <h3>Objectives</h3>
          <${Objectives} slos=${answer.slos ?? []} />
        </div>
      `
      }
    </${Panel}>
  `;
}

const Table = ({ answer }) => html`
  <${Scroll} label="Performance by region" class="tall">
    <table class="grid">
      <thead><tr><th scope="col">Region</th>${COLUMNS.map(([title]) => html`<th key=${title} scope="col" class="right">${title}</th>`)}</tr></thead>
      <tbody>
        ${[answer.global, ...(answer.regions ?? [])].filter(Boolean).map(
          (each) => html`
            <tr key=${each.region} data-test="performance" data-region=${each.region} class=${each.region ? "" : "whole"}>
              <th scope="row">${each.region ? html`<${Swatch} colour=${colourOf(each.region)} />${each.region}` : "whole group"}</th>
              ${COLUMNS.map(([title, of, words, more]) => html`<td key=${title} class="right">${words(of(each.now))}<${Delta} now=${of(each.now)} before=${of(each.before)} words=${words} more=${more} /></td>`)}
            </tr>
          `,
        )}
      </tbody>
    </table>
  </${Scroll}>
`;

function Delta({ now, before, words, more }) {
  if (now === null || now === undefined || before === null || before === undefined) return null;
  const delta = now - before;
  if (Math.abs(delta) < 0.005 * Math.max(Math.abs(now), Math.abs(before)) || delta === 0) return html` <span class="delta muted">=</span>`;
  const tone = more === null ? "muted" : delta > 0 === more ? "ok" : "bad";
  return html` <span class=${`delta ${tone}`}>${delta > 0 ? "▲" : "▼"}<span class="unseen">${delta > 0 ? "up" : "down"} by </span> ${words(Math.abs(delta))}</span>`;
}

function Moves({ now, before }) {
  if (!now) return null;
  const of = (each) => `${each?.failovers ?? 0} failovers, ${each?.switchovers ?? 0} switchovers`;
  const [longest, median] = [seconds(now.longest), seconds(now.median)];
  return html`
    <p class="note">
      Moves of the lease: ${of(now)}${longest === null ? "" : `, longest ${span(longest)}, median ${span(median)}`}${now.activeShare === undefined ? "" : `; some region was active for ${percent(now.activeShare)} of the time`}.
      Before: ${of(before)}.
    </p>
  `;
}

function Objectives({ slos }) {
  if (!slos.length)
    return html`<${Empty}>The policy has none: <code>slos</code> in it promise something and give an error budget.</${Empty}>`;
  return html`
    <${Scroll} label="Table of objectives" class="tall">
      <table class="grid">
        <thead><tr><th scope="col">Objective</th><th scope="col">Of</th><th scope="col" class="right">Goal</th><th scope="col" class="right">Achieved</th><th scope="col">Budget left</th><th scope="col">Burn rates</th></tr></thead>
        <tbody>
          ${slos.map(
            (each) => html`
              <tr key=${`${each.name} ${each.region}`} data-test="slo">
                <th scope="row">${each.name} <span class="muted">${span(seconds(each.window))}</span></th>
                <td>${each.region || "whole group"}</td>
                <td class="right">${percent(each.objective)}</td>
                <td class=${`right ${each.achieved !== undefined && each.achieved < each.objective ? "bad" : ""}`}>${percent(each.achieved)}</td>
                <td class=${each.budgetLeft < 0 ? "bad" : each.budgetLeft < 0.25 ? "warn" : ""}>${percent(each.budgetLeft)} <${Bar} share=${each.budgetLeft} colour=${each.budgetLeft < 0.25 ? "var(--warn)" : "var(--ok)"} /></td>
                <td class="causes">${each.burnRates.map((rate) => html`<span key=${rate.window} class=${`chip ${rate.rate > 14.4 ? "bad" : rate.rate > 1 ? "warn" : ""}`}>${span(seconds(rate.window))}: ${rate.rate === undefined ? "–" : `${number(rate.rate)}×`}</span> `)}</td>
              </tr>
            `,
          )}
        </tbody>
      </table>
    </${Scroll}>
  `;
}
