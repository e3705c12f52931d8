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
import { group } from "./state.js";
import { follow, health } from "./stream.js";

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

function App() {
  return html`
    <a class="skip" href="#main">Skip to the panels</a>
    <${Header} />
    <nav aria-label="Panels">
      <ul>${SECTIONS.map(([id, title]) => html`<li key=${id}><a href=${`#${id}`}>${title}</a></li>`)}</ul>
    </nav>
    <${Banners} />
    <main id="main" tabindex="-1" data-health=${health.value}>
      <h1 class="unseen">Primacy</h1>
      <div class="panels">
        <${WorldMap} />
        <div class="stack"><${Alerts} /><${Readiness} /></div>
        <${Regions} />
        <${WeightsOverTime} />
        <div class="stack"><${RoundTrips} /><${Overrides} /></div>
        <${Moves} />
        <${Replication} />
        <${Metrics} />
        <${Performance} />
        <${Journal} />
      </div>
    </main>
    <footer class="note"><a href="/assets/licences.txt">Licences</a></footer>
    <${ActionDialog} />
    <${Announcer} />
  `;
}

const theme = localStorage.getItem("theme");
if (theme) document.documentElement.dataset.theme = theme;
follow(group.value);
render(html`<${App} />`, document.getElementById("app"));
