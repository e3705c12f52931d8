// The coordinator's stream of one group, as signals. The browser reconnects by itself and resumes after the last event.
import { signal } from "@preact/signals";

/** The newest GetStatus answer (no events in it), or null until the first one is there. */
export const status = signal(null);
/** Events of the journal, newest first. */
export const journal = signal([]);
/** The newest ListAlerts answer, or null. */
export const alerts = signal(null);
/** The newest GetReplicationStatus answer, or null. */
export const replication = signal(null);
/** "connecting", "open", "lost" (the browser tries again) or "refused" (it does not). */
export const connection = signal("connecting");
/** When something last came, by performance.now(). A status comes at least once a second. */
export const heardAt = signal(0);

const JOURNAL_COUNT_MAX = 500;
const AGAIN_MS = 2000;

let source = null;

export function follow(group) {
  source?.close();
  for (const each of [status, alerts, replication]) each.value = null;
  journal.value = [];
  open(group);
}

function open(group) {
  const mine = new EventSource(`/api/stream?group=${encodeURIComponent(group)}`);
  source = mine;
  const on = (name, take) =>
    mine.addEventListener(name, (event) => {
      heardAt.value = performance.now();
      take(event.data && JSON.parse(event.data));
    });
  mine.onopen = () => (connection.value = "open");
  mine.onerror = () => {
    connection.value = mine.readyState === EventSource.CLOSED ? "refused" : "lost";
    // What is no stream (a 503 of a starting coordinator, a proxy's page) ends an EventSource for good.
    if (mine.readyState === EventSource.CLOSED && mine === source) {
      setTimeout(() => mine === source && open(group), AGAIN_MS);
    }
  };
  on("status", (value) => (status.value = value));
  on("alerts", (value) => (alerts.value = value));
  on("replication", (value) => (replication.value = value));
  on("journal", (event) => {
    // A stream that begins anew tells again what is known already.
    if (journal.value.some((known) => known.sequence === event.sequence)) return;
    journal.value = [event, ...journal.value].slice(0, JOURNAL_COUNT_MAX);
  });
  // Some events were passed over: what is shown is not whole any more. ListEvents has them.
  on("gap", () => (journal.value = []));
}
