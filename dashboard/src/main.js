import { html } from "htm/preact";
import { render } from "preact";
import "@preact/signals";
import { Alerts } from "./panels/alerts.js";
import { Announcer, Banners } from "./panels/banners.js";
import { ActionDialog } from "./panels/dialog.js";
import { Header } from "./panels/header.js";
import { Journal } from "./panels/journal.js";
import { WorldMap } from "./panels/map.js";
import { Metrics } from "./panels/metrics.js";
import { Moves } from "./panels/moves.js";
import { Overrides } from "./panels/overrides.js";
import { Performance } from "./panels/performance.js";
import { Readiness } from "./panels/readiness.js";
import { Regions } from "./panels/regions.js";
import { Replication } from "./panels/replication.js";
import { RoundTrips } from "./panels/rtt.js";
import { WeightsOverTime } from "./panels/weights.js";
import { Guarded, remembered } from "./parts.js";
import { group } from "./state.js";
import { follow, health } from "./stream.js";
import { zone } from "./words.js";

const SECTIONS = [
  ["map", "World"],
  ["alerts", "Alerts"],
  ["readiness", "Readiness"],
  ["regions", "Regions"],
  ["weights", "Weights"],
  ["rtt", "Round trips"],
  ["overrides", "Overrides"],
  ["moves", "Moves"],
  ["replication", "Replication"],
  ["metrics", "Metrics"],
  ["performance", "Performance"],
  ["journal", "Journal"],
];

const TITLES = new Map(SECTIONS);
/** What is wrong with one panel leaves the others alone. */
const panel = (Shown, id) => html`<${Guarded} what=${TITLES.get(id)} id=${id}><${Shown} /></${Guarded}>`;

function App() {
  return html`
    <a class="skip" href="#main">Skip to the panels</a>
    <${Guarded} what="The head of the page"><${Header} /></${Guarded}>
    <nav aria-label="Panels">
      <ul>${SECTIONS.map(([id, title]) => html`<li key=${id}><a href=${`#${id}`}>${title}</a></li>`)}</ul>
    </nav>
    <${Guarded} what="The notices"><${Banners} /></${Guarded}>
    <main id="main" tabindex="-1" data-health=${health.value}>
      <h1 class="unseen">Primacy</h1>
      <div class="panels">
        ${panel(WorldMap, "map")}
        <div class="stack">${panel(Alerts, "alerts")}${panel(Readiness, "readiness")}</div>
        ${panel(Regions, "regions")}
        ${panel(WeightsOverTime, "weights")}
        <div class="stack">${panel(RoundTrips, "rtt")}${panel(Overrides, "overrides")}</div>
        ${panel(Moves, "moves")}
        ${panel(Replication, "replication")}
        ${panel(Metrics, "metrics")}
        ${panel(Performance, "performance")}
        ${panel(Journal, "journal")}
      </div>
    </main>
    <footer class="note"><span data-test="zone">Times are those of this browser: ${zone()}.</span> <a href="/assets/licences.txt">Licences</a></footer>
    <${Guarded} what="The dialog"><${ActionDialog} /></${Guarded}>
    <${Guarded} what="The voice"><${Announcer} /></${Guarded}>
  `;
}

const theme = remembered("theme");
if (theme) document.documentElement.dataset.theme = theme;
follow(group.value);
render(html`<${App} />`, document.getElementById("app"));
