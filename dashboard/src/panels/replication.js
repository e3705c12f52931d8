// How far each region has come in the replication log, and what is in the way.
import { html } from "htm/preact";
import { Mark } from "../glyphs.js";
import { Bar, Empty, Panel, Scroll, Swatch, Trouble } from "../parts.js";
import { colourOf, useAsked } from "../state.js";
import { replication } from "../stream.js";
import { bytes, clock, counted, seconds, span, word } from "../words.js";

const TAIL = 8;

export function Replication() {
  const now = replication.value;
  const head = Number(now?.head ?? 0);
  const entries = useAsked("ReplicationService", "ListEntries", { pageSize: TAIL }, 4);
  const conflicts = useAsked("ReplicationService", "ListConflicts", { pageSize: 5, state: "CONFLICT_STATE_OPEN" }, 6);
  return html`
    <${Panel} id="replication" title="Replication" note=${now ? `log at ${head}${now.headTime ? `, ${clock(now.headTime)}` : ""}` : ""}>
      ${now && html`<${Verdict} now=${now} />`}
      ${!now || now.regions.length === 0 ? html`<${Empty}>No region follows the log yet.</${Empty}>` : html`<${Lags} now=${now} head=${head} />`}
      ${now && html`<${Transfers} now=${now} />`}
      <h3>Open conflicts</h3>
      <${Trouble} error=${conflicts.error} />
      ${
        conflicts.answer?.conflicts?.length
          ? html`<ul class="plain">${conflicts.answer.conflicts.map((each) => html`<${Conflict} key=${each.id} conflict=${each} />`)}</ul>`
          : !conflicts.error && html`<${Empty}>None.</${Empty}>`
      }
      <h3>Newest entries</h3>
      <${Trouble} error=${entries.error} />
      ${
        entries.answer?.entries?.length
          ? html`<${Tail} entries=${entries.answer.entries} />`
          : !entries.error &&
            html`<${Empty}>Only signs of life so far: <code>primacy model push</code> and <code>primacy config set</code> add to it.</${Empty}>`
      }
    </${Panel}>
  `;
}

function Verdict({ now }) {
  const found = [];
  if (now.stalled)
    found.push(
      html`<${Mark} look=${["cross", "bad"]}>the active region has written no sign of life for ${span(seconds(now.stalledFor))}</${Mark}>`,
    );
  if (now.openConflicts)
    found.push(html`<${Mark} look=${["triangle", "warn"]}>${counted(now.openConflicts, "conflict")} wait for somebody to decide</${Mark}>`);
  if (now.atRiskCount)
    found.push(
      html`<${Mark} look=${["triangle", "warn"]}>${counted(now.atRiskCount, "entry", "entries")} with one region alone, or with none that is heard</${Mark}>`,
    );
  if (!found.length)
    found.push(html`<${Mark} look=${["check", "ok"]}>everything is in at least two regions, nothing waits for anybody</${Mark}>`);
  return html`<ul class="plain verdicts">${found.map((each, index) => html`<li key=${index}>${each}</li>`)}</ul>`;
}

function Lags({ now, head }) {
  return html`
    <${Scroll} label="Replication by region" class="tall">
      <table class="grid">
        <thead>
          <tr><th scope="col">Region</th><th scope="col">Applied</th><th scope="col" class="right">Behind</th><th scope="col" class="right">Age</th><th scope="col">Put aside, missing</th></tr>
        </thead>
        <tbody>
          ${now.regions.map(
            (each) => html`
              <tr key=${each.region} data-test="replica" data-region=${each.region}>
                <th scope="row"><${Swatch} colour=${colourOf(each.region)} />${each.region}</th>
                <td>${each.settled} <${Bar} share=${head ? Number(each.settled) / head : 1} colour=${colourOf(each.region)} /></td>
                <td class="right">${Number(each.lagEntries) ? `${counted(each.lagEntries, "entry", "entries")}, ${bytes(each.lagBytes)}` : "–"}</td>
                <td class="right">${Number(each.lagEntries) ? span(seconds(each.lagAge)) : "–"}</td>
                <td class="wrap">
                  ${!each.heard && html`<span class="warn">not heard: figures are old</span> `}
                  ${each.parked.map((parked) => html`<span key=${parked.sequence} class="bad" title=${parked.reason}>${parked.sequence} ${parked.key}: ${parked.reason} </span>`)}
                  ${each.missingModels.length > 0 && html`<span class="warn">without ${each.missingModels.join(", ")}</span>`}
                  ${each.heard && !each.parked.length && !each.missingModels.length && html`<span class="muted">nothing</span>`}
                </td>
              </tr>
            `,
          )}
        </tbody>
      </table>
    </${Scroll}>
  `;
}

/** What is on its way now: models that agents fetch, what regions have not applied, and what only one region has yet. */
function Transfers({ now }) {
  const transfers = now.regions.flatMap((each) => each.transfers);
  const behind = now.regions.filter((each) => (Number(each.lagBytes) > 0 || each.missingModels.length) && !each.transfers.length);
  if (!transfers.length && !behind.length && !now.atRisk.length) return null;
  return html`
    <h3>Under way</h3>
    <ul class="plain">
      ${transfers.map((each) => html`<${Transfer} key=${`${each.agent} ${each.sequence}`} transfer=${each} />`)}
      ${behind.map((each) => html`<li key=${each.region}>${each.region} has ${bytes(each.lagBytes)} still to apply</li>`)}
      ${now.atRisk.slice(0, 5).map((entry) => html`<li key=${entry.sequence}><span class="warn">${entry.sequence} ${entry.key}</span> (${bytes(entry.size)}) is with ${entry.origin} alone</li>`)}
    </ul>
  `;
}

const Transfer = ({ transfer }) => {
  const share = Number(transfer.size) ? Number(transfer.received) / Number(transfer.size) : 0;
  return html`<li data-test="transfer">
    ${transfer.agent} fetches ${transfer.key} (entry ${transfer.sequence}): ${bytes(transfer.received)} of ${bytes(transfer.size)}, ${Math.floor(100 * share)} %
    <${Bar} share=${share} colour=${colourOf(transfer.agent.split("/")[0])} />
  </li>`;
};

const Conflict = ({ conflict }) => html`
  <li>
    <${Mark} look=${["triangle", "warn"]}>${conflict.key}</${Mark}> ${conflict.current?.origin} and ${conflict.incoming?.origin} wrote it, ${word(conflict.cause, "") || "apart"},
    since ${clock(conflict.createTime)}: <code>primacy conflict show ${conflict.id}</code>
  </li>
`;

const Tail = ({ entries }) => html`
  <${Scroll} label="Newest entries of the log">
    <table class="grid">
      <thead>
        <tr><th scope="col" class="right">No.</th><th scope="col">When</th><th scope="col">Key</th><th scope="col">From</th><th scope="col" class="right">Size</th><th scope="col">Safety</th></tr>
      </thead>
      <tbody>
        ${entries.map(
          (each) => html`
            <tr key=${each.sequence}>
              <td class="right">${each.sequence}</td>
              <td>${clock(each.sequenceTime)}</td>
              <th scope="row">${each.key}${each.removed ? " (removed)" : ""} <span class="muted">${word(each.kind, "ENTRY_KIND_")} v${each.version}</span></th>
              <td>${each.agent || each.origin}</td>
              <td class="right">${bytes(each.size)}</td>
              <td class=${each.safety === "ENTRY_SAFETY_SAFE" ? "" : "warn"}>${word(each.safety, "ENTRY_SAFETY_")}</td>
            </tr>
          `,
        )}
      </tbody>
    </table>
  </${Scroll}>
`;
