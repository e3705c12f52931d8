// The coordinator's stream of one group, as signals. The browser reconnects by itself and resumes after the last event.
import { computed, signal } from "@preact/signals";
import { declare, mustYield } from "./tabs.js";

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
/** Why the status or the stream cannot be had now, as the coordinator says it, or null. */
export const trouble = signal(null);
/** "connecting", "open", "lost" (the browser tries again), "refused" (it does not, this page does), or "yielded" (to other
 *  tabs, for as long as nobody looks at this one). */
export const connection = signal("connecting");
/** When a status last came, by performance.now(). One comes at least once a second. */
export const heardAt = signal(0);
/** Ticks, by performance.now(), for ages and countdowns. */
export const tick = signal(performance.now());
/** Whether nothing has come for so long that something must hold the connection itself back. */
export const held = signal(false);

const JOURNAL_COUNT_MAX = 500;
const AGAIN_MS = [500, 1000, 2000, 4000];
const TICK_MS = 200;
/** After so long without a status what is shown counts as stale. */
export const STALE_MS = 3500;
/** A stream that is silent for so long is dead, whatever the browser thinks. */
const SILENT_MS = 12_000;
/** A connection that is not there after so long waits for another one to end. */
const HELD_MS = 8000;
/** When the clock on the wall went on for so much longer than this page did, the machine slept. */
const SLEPT_MS = 5000;

/** "connecting" (nothing was ever shown), "live", "stale" or "lost". */
export const health = computed(() => {
  if (connection.value !== "open" && connection.value !== "connecting") return status.value ? "lost" : "connecting";
  if (!status.value) return "connecting";
  return tick.value - heardAt.value > STALE_MS ? "stale" : "live";
});
/** Whether what is shown is what is. */
export const isLive = computed(() => health.value === "live");
/** Seconds since the last status, while it is not live. */
export const silence = computed(() => (isLive.value ? 0 : Math.max(0, (tick.value - heardAt.value) / 1000)));

/** An EventSource does not say why it was refused: ask for the same once more. */
async function learnWhy(mine) {
  const stop = new AbortController();
  try {
    const answer = await fetch(mine.url, { signal: stop.signal });
    if (answer.ok) return;
    const nothing = { reason: "UNREADABLE", message: `HTTP ${answer.status}, and not from a coordinator: is a proxy in between?` };
    const why = await answer.json().catch(() => nothing);
    if (mine === source) trouble.value = why.message ? why : nothing;
  } catch {
    // It cannot be reached: that is said already.
  } finally {
    stop.abort();
  }
}

let source = null;
let failures = 0;
let openedAt = 0;
/** When anything last came. */
let aliveAt = 0;
/** Of which store the journal is. */
let store = "";
/** A time of the coordinator's clock, and when that was by performance.now(). */
let known = { time: Date.now(), at: performance.now() };
let wallAt = Date.now();
let tickAt = performance.now();

export function follow(group) {
  source?.close();
  for (const each of [status, alerts, replication, trouble, hello]) each.value = null;
  journal.value = [];
  open(group);
}

/** The coordinator's wall clock, in ms, as well as we know it: not by our own, which may be wrong by hours. */
export const coordinatorNow = () => known.time + performance.now() - known.at;
const learnTime = (time) => Number.isFinite(time) && (known = { time, at: performance.now() });

setInterval(() => {
  const now = performance.now();
  const slept = Date.now() - wallAt - (now - tickAt);
  wallAt = Date.now();
  tick.value = tickAt = now;
  if (!source) return;
  held.value = source.readyState === EventSource.CONNECTING && now - Math.max(openedAt, aliveAt) > HELD_MS;
  if (slept > SLEPT_MS) {
    // Some browsers' performance.now() stands still meanwhile, and a connection of before may be dead without a word.
    heardAt.value -= slept;
    renew();
  } else if (source.readyState === EventSource.OPEN && now - Math.max(aliveAt, openedAt) > SILENT_MS) {
    renew();
  }
}, TICK_MS);

function renew() {
  connection.value = "lost";
  source.again();
}

// A browser has six connections to one place for all tabs together, and each stream takes one: tabs that nobody looks at
// give way, and come back when somebody does.
let followed = "";
function makeRoom() {
  if (source && mustYield()) {
    source.close();
    source = null;
    connection.value = "yielded";
  } else if (!source && !document.hidden && connection.value === "yielded") {
    connection.value = "lost";
    open(followed);
  }
}
declare(makeRoom);

function open(group) {
  followed = group;
  const last = journal.value[0]?.sequence;
  const after = last ? `&after=${last}` : "";
  const mine = new EventSource(`/api/stream?group=${encodeURIComponent(group)}${after}`);
  source = mine;
  openedAt = performance.now();
  mine.again = () => {
    mine.close();
    if (mine === source) open(group);
  };
  const on = (name, take) =>
    mine.addEventListener(name, (event) => {
      if (mine !== source) return;
      aliveAt = performance.now();
      take(event.data && JSON.parse(event.data));
    });
  mine.onopen = () => {
    connection.value = "open";
    failures = 0;
  };
  mine.onerror = () => {
    if (mine !== source) return;
    connection.value = mine.readyState === EventSource.CLOSED ? "refused" : "lost";
    // What is no stream (a 503 of a starting coordinator, a proxy's page) ends an EventSource for good.
    if (mine.readyState === EventSource.CLOSED) {
      learnWhy(mine);
      setTimeout(mine.again, AGAIN_MS[Math.min(failures, AGAIN_MS.length - 1)] * (0.75 + Math.random() / 2));
      failures += 1;
    }
  };
  on("hello", (value) => {
    outdated.value ||= hello.value !== null && hello.value.version !== value.version;
    hello.value = value;
    trouble.value = null;
    learnTime(Date.parse(value.time));
  });
  on("status", (value) => {
    heardAt.value = tick.value = performance.now();
    trouble.value = null;
    learnTime(Date.parse(value.lease?.expireTime) - Number.parseFloat(value.lease?.remaining) * 1000);
    status.value = value;
    const before = store;
    store = value.coordinator?.storeId ?? "";
    if (before && before !== store) {
      // Another store counts anew: what is shown, and where to go on, are of another journal.
      journal.value = [];
      mine.again();
    }
  });
  on("alerts", (value) => (alerts.value = value));
  on("replication", (value) => (replication.value = value));
  on("trouble", (value) => (trouble.value = value));
  on("journal", (event) => {
    // A stream that begins anew tells again what is known already.
    if (journal.value.some((each) => each.sequence === event.sequence)) return;
    const all = [event, ...journal.value];
    if (all.length > 1 && Number(all[0].sequence) < Number(all[1].sequence)) all.sort((a, b) => Number(b.sequence) - Number(a.sequence));
    journal.value = all.slice(0, JOURNAL_COUNT_MAX);
  });
  // Some events were passed over, or the journal is another one: what is shown is not whole any more. ListEvents has them.
  on("gap", () => (journal.value = []));
}
