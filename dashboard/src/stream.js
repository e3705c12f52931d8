// The coordinator's stream of one group, as signals. The browser reconnects by itself and resumes after the last event.
import { computed, signal } from "@preact/signals";
import { call } from "./api.js";

/** The newest GetStatus answer (no events in it), or null until the first one is there. */
export const status = signal(null);
/** Events of the journal, newest first. */
export const journal = signal([]);
/** The newest ListAlerts answer, or null. */
export const alerts = signal(null);
/** The newest GetReplicationStatus answer, or null. */
export const replication = signal(null);
/** What the coordinator said of itself and of this browser, or null. */
export const hello = signal(null);
/** Whether the coordinator is another version than the one that this page is of. */
export const outdated = signal(false);
/** Why the status cannot be read now, or null. */
export const trouble = signal(null);
/** "connecting", "open", "lost" (the browser tries again) or "refused" (it does not, this page does). */
export const connection = signal("connecting");
/** When a status last came, by performance.now(). One comes at least once a second. */
export const heardAt = signal(0);
/** Ticks, by performance.now(), for ages and countdowns. */
export const tick = signal(performance.now());
/** How far the coordinator's clock is ahead of ours, in ms. */
export const clockAhead = signal(0);

const JOURNAL_COUNT_MAX = 500;
const AGAIN_MS = [500, 1000, 2000, 4000];
const TICK_MS = 200;
/** After so long without a status what is shown counts as stale. */
export const STALE_MS = 3500;
/** A stream that is silent for so long is dead, whatever the browser thinks. */
const SILENT_MS = 12_000;

/** "connecting" (nothing was ever shown), "live", "stale" or "lost". */
export const health = computed(() => {
  if (connection.value === "refused" || connection.value === "lost") return status.value ? "lost" : "connecting";
  if (!status.value) return "connecting";
  return tick.value - heardAt.value > STALE_MS ? "stale" : "live";
});
/** Whether what is shown is what is. */
export const isLive = computed(() => health.value === "live");
/** Seconds since the last status, while it is not live. */
export const silence = computed(() => (isLive.value ? 0 : Math.max(0, (tick.value - heardAt.value) / 1000)));

/** An EventSource does not say why it was refused. */
async function learnWhy(group, mine) {
  try {
    await call("StatusService", "GetStatus", { group });
  } catch (error) {
    if (mine === source || source === null) trouble.value = error;
  }
}

let source = null;
let failures = 0;
let openedAt = 0;

export function follow(group) {
  source?.close();
  for (const each of [status, alerts, replication, trouble, hello]) each.value = null;
  journal.value = [];
  open(group);
}

/** The coordinator's wall clock, in ms, as well as we know it. */
export const coordinatorNow = () => Date.now() + clockAhead.value;

setInterval(() => {
  tick.value = performance.now();
  if (source && tick.value - Math.max(heardAt.value, openedAt) > SILENT_MS) {
    connection.value = "lost";
    source.again();
  }
}, TICK_MS);

function open(group) {
  const last = journal.value[0]?.sequence;
  const after = last ? `&after=${last}` : "";
  const mine = new EventSource(`/api/stream?group=${encodeURIComponent(group)}${after}`);
  source = mine;
  openedAt = performance.now();
  mine.again = () => {
    mine.close();
    if (mine === source) open(group);
  };
  const on = (name, take) => mine.addEventListener(name, (event) => mine === source && take(event.data && JSON.parse(event.data)));
  mine.onopen = () => {
    connection.value = "open";
    failures = 0;
  };
  mine.onerror = () => {
    if (mine !== source) return;
    connection.value = mine.readyState === EventSource.CLOSED ? "refused" : "lost";
    // What is no stream (a 503 of a starting coordinator, a proxy's page) ends an EventSource for good.
    if (mine.readyState === EventSource.CLOSED) {
      if (!status.value) learnWhy(group, mine);
      setTimeout(mine.again, AGAIN_MS[Math.min(failures, AGAIN_MS.length - 1)] * (0.75 + Math.random() / 2));
      failures += 1;
    }
  };
  on("hello", (value) => {
    outdated.value ||= hello.value !== null && hello.value.version !== value.version;
    hello.value = value;
  });
  on("status", (value) => {
    heardAt.value = tick.value = performance.now();
    trouble.value = null;
    const left = Number.parseFloat(value.lease?.remaining);
    if (value.lease?.expireTime) clockAhead.value = Date.parse(value.lease.expireTime) - left * 1000 - Date.now();
    status.value = value;
  });
  on("alerts", (value) => (alerts.value = value));
  on("replication", (value) => (replication.value = value));
  on("trouble", (value) => (trouble.value = value));
  on("journal", (event) => {
    // A stream that begins anew tells again what is known already.
    if (journal.value.some((known) => known.sequence === event.sequence)) return;
    const known = [event, ...journal.value];
    if (known.length > 1 && Number(known[0].sequence) < Number(known[1].sequence)) {
      known.sort((a, b) => Number(b.sequence) - Number(a.sequence));
    }
    journal.value = known.slice(0, JOURNAL_COUNT_MAX);
  });
  // Some events were passed over, or the journal is another one: what is shown is not whole any more. ListEvents has them.
  on("gap", () => (journal.value = []));
}
