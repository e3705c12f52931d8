// What was measured, over time: which series, of whom, since when.
import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { Chart } from "../chart.js";
import { Choice, Empty, Panel, Select, Trouble } from "../parts.js";
import { colourOf, useAsked } from "../state.js";
import { coordinatorNow } from "../stream.js";

const RANGES = [
  ["900", "15 min"],
  ["3600", "1 h"],
  ["21600", "6 h"],
  ["86400", "24 h"],
  ["604800", "7 d"],
];
const AGGREGATIONS = [
  ["AVERAGE", "mean"],
  ["MAXIMUM", "highest"],
  ["MINIMUM", "lowest"],
  ["LAST", "newest"],
  ["SUM", "sum"],
];
const QUANTILES = [
  ["QUANTILE 0.5", "p50"],
  ["QUANTILE 0.9", "p90"],
  ["QUANTILE 0.99", "p99"],
  ["QUANTILE 0.999", "p999"],
  ["COUNT", "count"],
];
const FIRST = ["request_rate", "latency_seconds", "error_rate", "utilisation"];
/** Before anybody could say which there are. */
const KNOWN = FIRST.map((name) => ({ name, description: "", unit: "", distribution: name === "latency_seconds" }));

export function Metrics() {
  const [rangeS, setRange] = useState("900");
  const [zoom, setZoom] = useState(null);
  const { answer, error } = useAsked("StatusService", "ListMetrics", {}, 30);
  const metrics = answer?.metrics?.length ? answer.metrics : KNOWN;
  const aside = html`
    ${zoom && html`<button type="button" class="small" onClick=${() => setZoom(null)}>Back to now</button>`}
    <${Choice} label="Range" name="metrics-range" options=${RANGES} value=${zoom ? "" : rangeS} onChange=${(value) => [setZoom(null), setRange(value)]} />
  `;
  return html`
    <${Panel} id="metrics" title="Metrics" wide note="drag over a chart to zoom in" aside=${aside}>
      <${Trouble} error=${error} />
      ${Number(answer?.dropped) > 0 && html`<p class="note warn">${answer.dropped} values were left out: there are too many series.</p>`}
      <div class="charts">
        ${FIRST.map((name, index) => html`<${MetricChart} key=${index} index=${index} first=${name} metrics=${metrics} rangeS=${Number(rangeS)} zoom=${zoom} onZoom=${setZoom} />`)}
      </div>
    </${Panel}>
  `;
}

function MetricChart({ index, first, metrics, rangeS, zoom, onZoom }) {
  const [name, setName] = useState(first);
  const [of, setOf] = useState("regions");
  const [how, setHow] = useState("");
  const info = metrics.find((each) => each.name === name) ?? { name, unit: "", distribution: false, description: "" };
  const hows = info.distribution ? QUANTILES : AGGREGATIONS;
  const chosen = hows.some(([key]) => key === how)
    ? how
    : info.distribution
      ? "QUANTILE 0.99"
      : of === "global" && info.unit === "per second"
        ? "SUM"
        : "AVERAGE";
  const [aggregation, quantile] = chosen.split(" ");
  const span = zoom ? zoom[1] - zoom[0] : rangeS;
  const request = {
    series: name,
    global: of === "global",
    aggregation: `METRIC_AGGREGATION_${aggregation}`,
    range: `${span.toFixed(3)}s`,
    ...(quantile ? { quantile: Number(quantile) } : {}),
    ...(zoom ? { endTime: new Date(zoom[1] * 1000).toISOString() } : {}),
  };
  const { answer, error, old } = useAsked("StatusService", "QueryMetrics", request, zoom ? 60 : Math.max(3, Math.min(60, rangeS / 300)));
  const end = zoom ? zoom[1] : coordinatorNow() / 1000;
  const series = (answer?.series ?? []).filter((each) => each.points.length).map(named);
  const unit = answer?.metric?.unit ?? info.unit;
  const names = metrics.map((each) => [each.name, each.name.replaceAll("_", " ")]);
  if (!metrics.some((each) => each.name === name)) names.unshift([name, name.replaceAll("_", " ")]);
  return html`
    <div class=${`metric ${old ? "old" : ""}`} data-test="metric" data-series=${name}>
      <div class="metric-head">
        <${Select} label=${`Series of chart ${index + 1}`} shown=${false} options=${names} value=${name} onChange=${(value) => [setName(value), setHow("")]} />
        <${Select} label=${`How values of chart ${index + 1} become one`} shown=${false} options=${hows} value=${chosen} onChange=${setHow} />
        <${Select} label=${`Whose values chart ${index + 1} shows`} shown=${false} options=${[
          ["regions", "by region"],
          ["global", "whole group"],
        ]} value=${of} onChange=${setOf} />
      </div>
      <p class="note">${answer?.metric?.description || info.description}</p>
      ${series.length > 0 && html`<${Trouble} error=${error} />`}
      ${
        series.length
          ? html`<${Chart} label=${`${name.replaceAll("_", " ")}`} series=${series} unit=${unit} stepS=${Number.parseFloat(answer.step) || 1} range=${[end - span, end]} height=${190} sync="metrics" onZoom=${(from, to) => to - from >= 5 && onZoom([from, to])} />`
          : error
            ? html`<${Trouble} error=${error} />`
            : html`<${Empty}>${answer ? "Nobody has measured this in that time." : "Asking…"}</${Empty}>`
      }
    </div>
  `;
}

function named(each) {
  const name = each.targetRegion ? `${each.region || "all"} to ${each.targetRegion}` : each.region || "all regions";
  return {
    name,
    colour: each.region || each.targetRegion ? colourOf(each.targetRegion || each.region) : "var(--accent)",
    dashed: Boolean(each.targetRegion && each.region !== each.targetRegion),
    points: each.points.map(({ time, value }) => ({ time: Date.parse(time) / 1000, value })),
  };
}
