// One card for each region: what is thought of it, why, and what would be without it. Many regions are a table.
import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { ask } from "../actions.js";
import { Status, statusRank } from "../glyphs.js";
import { Bar, Choice, Empty, Panel, Scroll, Swatch } from "../parts.js";
import { ifDown, prospect } from "../readiness.js";
import { colourOf, picked, readShares, regions } from "../state.js";
import { coordinatorNow, replication, status } from "../stream.js";
import { counted, lagText, number, percent, seconds, span, word } from "../words.js";
import { ProspectMark } from "./readiness.js";

const CARDS_MAX = 12;
const VIEWS = [
  ["cards", "Cards"],
  ["table", "Table"],
];

export function Regions() {
  const [asked, setView] = useState("");
  const all = regions.value;
  const view = asked || (all.length > CARDS_MAX ? "table" : "cards");
  const then = (name) => prospect(name, ifDown(name));
  const sorted = [...all].sort(
    (a, b) => Number(b.active) - Number(a.active) || statusRank(a.status) - statusRank(b.status) || (a.name < b.name ? -1 : 1),
  );
  const aside = html`<${Choice} label="Show regions as" name="regions-view" options=${VIEWS} value=${view} onChange=${setView} />`;
  return html`
    <${Panel} id="regions" title="Regions" wide note=${`${all.length} registered`} aside=${all.length > 0 && aside}>
      ${all.length === 0 && html`<${Empty}>No region has registered yet.</${Empty}>`}
      ${
        all.length > 0 && view === "cards"
          ? html`<div class="cards">${sorted.map((region) => html`<${Card} key=${region.name} region=${region} then=${then(region.name)} />`)}</div>`
          : all.length > 0 && html`<${Table} sorted=${sorted} then=${then} />`
      }
    </${Panel}>
  `;
}

function facts(region) {
  const { load } = region;
  const since = region.statusSinceTime && (coordinatorNow() - Date.parse(region.statusSinceTime)) / 1000;
  const connected = region.agents.filter((each) => each.connected).length;
  const copy = replication.value?.regions?.find((each) => each.region === region.name);
  return {
    since: since ? span(Math.max(0, Math.round(since))) : "",
    share: readShares.value.get(region.name) ?? 0,
    agents: `${connected}/${region.agents.length}`,
    connected,
    instances: `${sum(region.agents, "healthy")}/${sum(region.agents, "total")}`,
    rate: load?.requestRate,
    capacity: region.capacity || load?.capacity,
    utilisation: load?.utilisation,
    errors: load?.errorRate,
    latency: load?.latencyNs === undefined ? null : Number(load.latencyNs) / 1e9,
    lag: lagText(region.lag),
    copied: copy
      ? Number(copy.lagEntries)
        ? `${counted(copy.lagEntries, "entry", "entries")}, ${span(seconds(copy.lagAge))}`
        : "current"
      : "–",
    shunnedBy: regions.value.filter((other) => other.agents.some((each) => each.shunned.includes(region.name))).map((other) => other.name),
    drain: region.drainState === "DRAIN_STATE_NONE" ? "" : word(region.drainState, "DRAIN_STATE_"),
  };
}

const sum = (agents, key) => agents.reduce((all, each) => all + (each[key] ?? 0), 0);

function roleOf(region) {
  const lease = status.value?.lease;
  if (region.active) {
    const phase = region.agents.map((each) => each.phase).find((each) => each && each !== "PHASE_STANDBY");
    return word(phase, "PHASE_") || "active";
  }
  return lease?.holder === region.name && lease.phase === "LEASE_PHASE_OFFERED" ? "offered the lease" : "standby";
}

function Tags({ region, fact }) {
  return html`
    <span class=${`chip ${region.active ? "accent" : ""}`} data-test="role">${roleOf(region)}</span>
    ${fact.drain && html`<span class="chip warn">${fact.drain}</span>`}
    ${region.cordoned && html`<span class="chip warn">cordoned</span>`}
    ${fact.shunnedBy.length > 0 && html`<span class="chip bad">shunned by ${fact.shunnedBy.join(", ")}</span>`}
  `;
}

function Buttons({ region, fact }) {
  const name = region.name;
  const button = (kind, text) =>
    html`<button type="button" class="small" onClick=${() => ask(kind, { region: name })} aria-label=${`${text} ${name}…`}>${text}…</button>`;
  return html`
    <div class="actions">
      ${!region.active && button("switchover", "Make active")}
      ${fact.drain ? button("undrain", "Undrain") : button("drain", "Drain")}
      ${region.cordoned ? button("uncordon", "Uncordon") : button("cordon", "Cordon")}
    </div>
  `;
}

function Card({ region, then }) {
  const fact = facts(region);
  const troubled = region.status !== "REGION_STATUS_HEALTHY";
  return html`
    <article
      class=${`card ${region.active ? "active" : ""} ${picked.value === region.name ? "picked" : ""}`}
      id=${`region-${region.name}`}
      data-test="region"
      data-region=${region.name}
      data-status=${region.status}
      tabindex="-1"
      aria-labelledby=${`region-${region.name}-name`}
    >
      <header>
        <h3 id=${`region-${region.name}-name`}><${Swatch} colour=${colourOf(region.name)} />${region.name}</h3>
        <span class="tags"><${Tags} region=${region} fact=${fact} /></span>
      </header>
      <p class="verdict"><${Status} value=${region.status} /><span class="muted">${fact.since && `for ${fact.since}`}</span></p>
      <p class="reason">${region.statusReason}</p>
      <dl class="figures">
        <div><dt>Reads</dt><dd data-test="reads">${percent(fact.share)} <${Bar} share=${fact.share} colour=${colourOf(region.name)} /></dd></div>
        <div>
          <dt>Load</dt>
          <dd>${percent(fact.utilisation)} <${Bar} share=${fact.utilisation} colour=${loadColour(fact.utilisation)} /></dd>
        </div>
        <div><dt>Requests</dt><dd title=${fact.capacity ? `of ${number(fact.capacity)}/s` : ""}>${fact.rate === undefined ? "–" : `${number(fact.rate)}/s`}</dd></div>
        <div><dt>Latency</dt><dd>${span(fact.latency)}</dd></div>
        <div><dt>Errors</dt><dd class=${fact.errors > 0.05 ? "bad" : ""}>${percent(fact.errors)}</dd></div>
        <div><dt>Agents</dt><dd class=${fact.connected ? "" : "bad"} title="connected">${fact.agents}</dd></div>
        <div><dt>Instances</dt><dd title="healthy">${fact.instances}</dd></div>
        <div><dt>Replica</dt><dd>${fact.copied}</dd></div>
        ${fact.lag && html`<div><dt>Data lag</dt><dd>${fact.lag}</dd></div>`}
        <div><dt>Priority</dt><dd>${region.priority}${region.flapPenalty >= 0.5 ? html` <span class="warn">flaps</span>` : ""}</dd></div>
      </dl>
      <p class="prospect"><span class="label">If it died now</span><${ProspectMark} prospect=${then} /></p>
      <details open=${troubled}>
        <summary>Evidence<span class="unseen"> for ${region.name}</span></summary>
        <ul class="evidence">
          ${region.evidence.map((each) => html`<li key=${each}>${each}</li>`)}
          ${region.agents.map((agent) => html`<li key=${agent.agent}>${agentText(region, agent)}</li>`)}
          ${then.why.map((each) => html`<li key=${each}>${each}</li>`)}
        </ul>
      </details>
      <${Buttons} region=${region} fact=${fact} />
    </article>
  `;
}

const loadColour = (share) => (share > 0.9 ? "var(--bad)" : share > 0.75 ? "var(--warn)" : "var(--accent)");

function agentText(region, agent) {
  const age = seconds(agent.lastReportAge);
  const failing = agent.detail?.probes?.filter((each) => each.healthy === false) ?? [];
  const parts = [
    `${region.name}/${agent.agent} on ${agent.host || "an unknown machine"}`,
    agent.connected ? "connected" : "not connected",
    age === null ? "" : `last heard ${span(age)} ago`,
    agent.leaseValid ? `holds epoch ${agent.heldEpoch}` : "",
    ...failing.map((each) => `probe ${each.name} fails: ${each.message || each.target}`),
  ];
  return parts.filter(Boolean).join(", ");
}

function Table({ sorted, then }) {
  return html`
    <${Scroll} label="Table of regions" class="tall">
      <table class="grid">
        <thead>
          <tr>
            <th scope="col">Region</th><th scope="col">Status</th><th scope="col">Role</th><th scope="col" class="right">Reads</th>
            <th scope="col" class="right">Load</th><th scope="col" class="right">Latency</th><th scope="col" class="right">Errors</th>
            <th scope="col" class="right">Agents</th><th scope="col">Log</th><th scope="col">If it died now</th><th scope="col">Actions</th>
          </tr>
        </thead>
        <tbody>
          ${sorted.map((region) => {
            const fact = facts(region);
            const what = then(region.name);
            return html`
              <tr key=${region.name} id=${`region-${region.name}`} data-test="region" data-region=${region.name} data-status=${region.status} tabindex="-1" class=${picked.value === region.name ? "picked" : ""}>
                <th scope="row"><${Swatch} colour=${colourOf(region.name)} />${region.name}</th>
                <td title=${region.statusReason}><${Status} value=${region.status} /></td>
                <td><span class="tags"><${Tags} region=${region} fact=${fact} /></span></td>
                <td class="right" data-test="reads">${percent(fact.share)}</td>
                <td class="right">${percent(fact.utilisation)}</td>
                <td class="right">${span(fact.latency)}</td>
                <td class="right">${percent(fact.errors)}</td>
                <td class="right">${fact.agents}</td>
                <td>${fact.copied}</td>
                <td class=${what.tone}>${what.text}</td>
                <td><${Buttons} region=${region} fact=${fact} /></td>
              </tr>
            `;
          })}
        </tbody>
      </table>
    </${Scroll}>
  `;
}
