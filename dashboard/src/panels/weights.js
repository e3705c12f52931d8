// How reads of one region are spread, over time and now, and why each share is what it is.
import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";
import { Chart } from "../chart.js";
import { Bar, Choice, Empty, Panel, Scroll, Select, Swatch } from "../parts.js";
import { colourOf, useAsked } from "../state.js";
import { coordinatorNow, status } from "../stream.js";
import { percent, word } from "../words.js";

const RANGES = [
  ["900", "15 min"],
  ["3600", "1 h"],
  ["21600", "6 h"],
  ["86400", "24 h"],
];
const SEEN_MAX = 1800;

export function WeightsOverTime() {
  const [asked, setClient] = useState("");
  const [range, setRange] = useState("900");
  const rows = status.value?.readWeights?.rows ?? [];
  const row =
    rows.find((each) => each.clientRegion === asked) ?? rows.find((each) => each.clientRegion === status.value?.activeRegion) ?? rows[0];
  const aside = html`
    ${
      rows.length > 0 &&
      html`<${Select} label="Reads from" value=${row?.clientRegion ?? ""} onChange=${setClient} options=${rows.map((each) => [each.clientRegion, each.clientRegion || "anywhere"])} />`
    }
    <${Choice} label="Range" name="weights-range" options=${RANGES} value=${range} onChange=${setRange} />
  `;
  const strategy = word(status.value?.readWeights?.strategy, "ROUTING_STRATEGY_");
  return html`
    <${Panel} id="weights" title="Weights" note=${strategy && `reads by ${strategy}; writes all go to the active region`} aside=${aside}>
      ${
        row
          ? html`<${History} key=${row.clientRegion} client=${row.clientRegion} rangeS=${Number(range)} row=${row} /><${Why} row=${row} />`
          : html`<${Empty}>There are no weights yet: no region has registered.</${Empty}>`
      }
    </${Panel}>
  `;
}

function History({ client, rangeS, row }) {
  const request = { series: "weight", regions: [client], range: `${rangeS}s`, aggregation: "METRIC_AGGREGATION_AVERAGE" };
  const { answer, error } = useAsked("StatusService", "QueryMetrics", request, rangeS > 3600 ? 20 : 4);
  const seen = useSeen(row);
  const measured = answer?.series?.some((each) => each.points.length > 1);
  const series = measured ? shares(answer.series) : seen;
  const stepS = measured ? Number.parseFloat(answer.step) : 1;
  const end = coordinatorNow() / 1000;
  const coloured = series.map((each) => ({ ...each, colour: colourOf(each.name) }));
  return html`
    ${error && html`<p class="note">Only since this page was opened: ${error.message}.</p>`}
    <${Chart} label=${`Weights of reads from ${client}`} series=${coloured} unit="share" stepS=${stepS} range=${measured || !seen.length ? [end - rangeS, end] : [end - Math.min(rangeS, 120), end]} stack height=${230} />
  `;
}

/** Means of a step in which reads moved are each over the part of it in which a region had any: together more than all. */
function shares(series) {
  const sums = new Map();
  for (const { points } of series) for (const { time, value } of points) sums.set(time, (sums.get(time) ?? 0) + value);
  return series.map((each) => ({
    name: each.targetRegion,
    points: each.points.map(({ time, value }) => ({ time: Date.parse(time) / 1000, value: value / Math.max(1, sums.get(time)) })),
  }));
}

/** What this page itself has seen: for as long as nobody kept the history. */
function useSeen(row) {
  const [points, add] = useState([]);
  const second = Math.floor(coordinatorNow() / 1000);
  useEffect(() => {
    add((before) => [...before, { time: second, weights: row.weights }].slice(-SEEN_MAX));
  }, [second, JSON.stringify(row.weights)]);
  return Object.keys(row.weights).map((name) => ({
    name,
    points: points.map(({ time, weights }) => ({ time, value: weights[name] ?? 0 })),
  }));
}

function Why({ row }) {
  const shares = Object.entries(row.weights).sort(([, a], [, b]) => b - a);
  return html`
    <${Scroll} label="Why each region has its share now" class=${shares.length > 10 ? "tall" : ""}>
      <table class="grid">
        <caption class="unseen">Shares of reads from ${row.clientRegion} now, and why</caption>
        <thead><tr><th scope="col">To</th><th scope="col">Now</th><th scope="col">Because of</th></tr></thead>
        <tbody>
          ${shares.map(
            ([name, share]) => html`
              <tr key=${name} data-test="weight" data-client=${row.clientRegion} data-target=${name}>
                <th scope="row"><${Swatch} colour=${colourOf(name)} />${name}</th>
                <td><span data-test="share">${percent(share)}</span> <${Bar} share=${share} colour=${colourOf(name)} /></td>
                <td class="causes">${causes(row.causes?.[name]?.causes)}</td>
              </tr>
            `,
          )}
        </tbody>
      </table>
    </${Scroll}>
  `;
}

function causes(all) {
  const parts = (all ?? []).filter((each) => Math.abs(each.share ?? 0) >= 0.0005);
  if (!parts.length) return html`<span class="muted">no part of it</span>`;
  return parts.map(
    (each) =>
      html`<span key=${each.name} class="chip ${each.share < 0 ? "minus" : ""}">${each.name.replaceAll("_", " ")} ${each.share < 0 ? "−" : "+"}${percent(Math.abs(each.share))}</span> `,
  );
}
