// The journal: what happened and what was decided, the newest first.
import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { call } from "../api.js";
import { SeverityMark } from "../glyphs.js";
import { Choice, Empty, Panel, Select, Text, Trouble } from "../parts.js";
import { group, regions } from "../state.js";
import { journal } from "../stream.js";
import { clock } from "../words.js";

const SEVERITIES = ["SEVERITY_UNSPECIFIED", "SEVERITY_INFO", "SEVERITY_WARNING", "SEVERITY_CRITICAL"];
const LEAST = [
  ["SEVERITY_INFO", "All"],
  ["SEVERITY_WARNING", "Warnings"],
  ["SEVERITY_CRITICAL", "Critical"],
];
const SHOWN_MAX = 300;
const PAGE_SIZE = 100;

export function Journal() {
  const [least, setLeast] = useState("SEVERITY_INFO");
  const [region, setRegion] = useState("");
  const [kept, keep] = useState({ key: "", events: [], token: "", error: null });
  const key = `${least} ${region}`;
  const older = kept.key === key ? kept : { key, events: [], token: "", error: null };
  const fits = (event) => SEVERITIES.indexOf(event.severity) >= SEVERITIES.indexOf(least) && (!region || event.region === region);
  const known = new Map([...older.events, ...journal.value.filter(fits)].map((event) => [event.sequence, event]));
  const events = [...known.values()].sort((a, b) => Number(b.sequence) - Number(a.sequence)).slice(0, SHOWN_MAX + older.events.length);
  const more = async () => {
    try {
      const request = { group: group.value, pageSize: PAGE_SIZE, pageToken: older.token, region, minSeverity: least };
      const answer = await call("StatusService", "ListEvents", request);
      keep({ key, events: [...older.events, ...answer.events], token: answer.nextPageToken, error: null });
    } catch (error) {
      keep({ ...older, error });
    }
  };
  const aside = html`
    <${Choice} label="Least severity" name="journal-severity" options=${LEAST} value=${least} onChange=${setLeast} />
    <${Select} label="Region" shown=${false} value=${region} onChange=${setRegion} options=${[["", "All regions"], ...regions.value.map((each) => [each.name, each.name])]} />
  `;
  return html`
    <${Panel} id="journal" title="Journal" wide aside=${aside}>
      ${events.length === 0 && html`<${Empty}>Nothing of that kind.</${Empty}>`}
      <div class="scroll tall" role="region" aria-label="Events" tabindex="0">
        <ol class="journal">${events.map((event) => html`<${Entry} key=${event.sequence} event=${event} />`)}</ol>
      </div>
      <${Trouble} error=${older.error} />
      <p class="actions"><button type="button" class="small" disabled=${older.events.length > 0 && !older.token} onClick=${more}>Older ones</button></p>
    </${Panel}>
  `;
}

const Entry = ({ event }) => html`
  <li data-test="event" data-sequence=${event.sequence} data-time=${event.time}>
    <time datetime=${event.time} title=${event.time}>${clock(event.time)}</time>
    <${SeverityMark} value=${event.severity} />
    <span class="what"><${Text}>${event.message}</${Text}>${event.epoch !== "0" && event.epoch ? html` <span class="muted">epoch ${event.epoch}</span>` : ""}</span>
    <span class="kind muted">${event.kind}</span>
  </li>
`;
