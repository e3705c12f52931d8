// Who is active, for how long at least, and whether what is shown is still so.
import { html } from "htm/preact";
import { useEffect } from "preact/hooks";
import { ask } from "../actions.js";
import { Glyph } from "../glyphs.js";
import { remember, Select } from "../parts.js";
import { group, useAsked } from "../state.js";
import { health, heardAt, hello, isLive, silence, status, tick } from "../stream.js";
import { countdown, seconds, span, word } from "../words.js";

const CONNECTIONS = {
  connecting: ["dots", "info", "connecting"],
  live: ["disc", "ok", "connected"],
  stale: ["triangle", "warn", "stale"],
  lost: ["cross", "bad", "disconnected"],
};

export function Header() {
  const now = status.value;
  const paused = now?.overrides?.some((each) => each.kind === "OVERRIDE_KIND_PAUSE");
  useTitle(now);
  return html`
    <header class="top">
      <div class="top-row">
        <a class="brand" href="#main" aria-label="Primacy, to the top">
          <svg viewBox="0 0 24 24" aria-hidden="true">
            <circle cx="12" cy="12" r="10" fill="none" stroke="currentColor" stroke-width="1.6" opacity=".45" />
            <circle cx="12" cy="12" r="4.2" fill="var(--accent)" />
            <path d="M12 2v4M22 12h-4M12 22v-4M2 12h4" stroke="currentColor" stroke-width="1.6" />
          </svg>
          <span>Primacy</span>
        </a>
        <${GroupPicker} />
        <${Connection} />
        <${Theme} />
      </div>
      <div class="top-row lead" data-test="active" data-health=${health.value}>
        <${Active} now=${now} />
        <div class="actions">
          <button type="button" class="primary" disabled=${!isLive.value} onClick=${() => ask("switchover")}>Move the lease…</button>
          ${
            paused
              ? html`<button type="button" disabled=${!isLive.value} onClick=${() => ask("resume")}>Resume moves…</button>`
              : html`<button type="button" disabled=${!isLive.value} onClick=${() => ask("pause")}>Pause moves…</button>`
          }
        </div>
      </div>
    </header>
  `;
}

function Active({ now }) {
  if (!now) return html`<p class="active-name"><span class="muted">Waiting for the coordinator…</span></p>`;
  const { lease } = now;
  const name = now.activeRegion;
  return html`
    <p class=${`active-name ${name ? "" : "bad"}`}>
      <span class="label">Active region</span>
      ${
        name
          ? html`<strong data-test="active-region">${name}</strong>`
          : html`<strong data-test="active-region"><${Glyph} shape="cross" /> none</strong>`
      }
    </p>
    <p class="figure">
      <span class="label">Epoch</span>
      <strong data-test="epoch">${now.epoch}</strong>
    </p>
    <div class="figure lease">
      <span class="label">${name ? `Lease, ${word(lease?.phase, "LEASE_PHASE_")}` : "Lease"}</span>
      ${name ? html`<${Countdown} lease=${lease} />` : html`<strong>${waitText(lease)}</strong>`}
    </div>
    <p class="figure">
      <span class="label">Regions</span>
      <strong>${now.regions.filter((each) => each.status === "REGION_STATUS_HEALTHY").length} of ${now.regions.length} healthy</strong>
    </p>
  `;
}

function waitText(lease) {
  const wait = seconds(lease?.restartWait);
  if (wait) return `nothing is offered for ${span(wait)}`;
  return lease?.holder ? `offered to ${lease.holder}` : "held by nobody";
}

/** Runs on by itself between what the coordinator says, from its own figure. */
function Countdown({ lease }) {
  const ttl = seconds(lease.ttl) || 1;
  const left = Math.max(0, (seconds(lease.remaining) ?? 0) - (tick.value - heardAt.value) / 1000);
  const low = left / ttl < 0.34;
  return html`
    <strong class=${low ? "warn" : ""}>
      <span data-test="lease">${countdown(left)}</span> <span class="muted">of ${span(ttl)}</span>
    </strong>
    <span class="bar thin" aria-hidden="true"><span style=${{ width: `${Math.min(1, left / ttl) * 100}%`, background: low ? "var(--warn)" : "var(--accent)" }}></span></span>
  `;
}

function Connection() {
  const [shape, tone, text] = CONNECTIONS[health.value];
  const age = health.value === "stale" || health.value === "lost" ? ` for ${span(Math.round(silence.value))}` : "";
  const about = hello.value ? `coordinator ${hello.value.version} at ${hello.value.grpc}` : "";
  return html`
    <p class=${`connection mark ${tone}`} data-test="connection" data-health=${health.value} title=${about}>
      <${Glyph} shape=${shape} /><span>${text}${age}</span>
    </p>
  `;
}

function GroupPicker() {
  const { answer } = useAsked("GroupService", "ListGroups", { group: undefined, pageSize: 1000 }, 30, true);
  const shown = status.value?.group ?? group.value;
  const names = answer?.groups?.map((each) => each.name) ?? [];
  if (shown && !names.includes(shown)) names.push(shown);
  if (!names.length) return null;
  const go = (name) => {
    const address = new URL(location.href);
    address.searchParams.set("group", name);
    address.hash = "";
    location.assign(address);
  };
  return html`<${Select} label="Group" options=${names.map((name) => [name, name])} value=${shown} onChange=${go} />`;
}

const THEMES = [
  ["", "Auto"],
  ["light", "Light"],
  ["dark", "Dark"],
];

function Theme() {
  const value = document.documentElement.dataset.theme ?? "";
  const set = (theme) => {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    remember("theme", theme);
    window.dispatchEvent(new Event("themechange"));
  };
  return html`<${Select} label="Theme" shown=${false} options=${THEMES} value=${value} onChange=${set} />`;
}

/** The tab says it, too: many tabs are open at 3 a.m. */
function useTitle(now) {
  const lost = health.value === "lost" || health.value === "stale";
  const text = now ? `${lost ? "(!) " : ""}${now.activeRegion || "no active region"} · ${now.group} · Primacy` : "Primacy";
  useEffect(() => {
    document.title = text;
  }, [text]);
}
