// Which of this browser's tabs keep their streams: the last few that somebody looked at. Tabs tell each other.

const KEPT = 4;
const TELL_MS = 20_000;
/** A tab that crashed says no goodbye; one that is hidden has its timers slowed down to one a minute. */
const GONE_MS = 180_000;

const me = `${Date.now()} ${Math.random()}`;
const others = new Map();
const channel = "BroadcastChannel" in window ? new BroadcastChannel("primacy-tabs") : null;
let seenAt = Date.now();

const tell = (more = {}) => channel?.postMessage({ tab: me, seenAt: document.hidden ? seenAt : Number.MAX_SAFE_INTEGER, ...more });

/** Whether enough other tabs were looked at later than this one. */
export function mustYield() {
  if (!document.hidden) return false;
  for (const [tab, each] of others) if (Date.now() - each.at > GONE_MS) others.delete(tab);
  return [...others].filter(([tab, each]) => each.seenAt > seenAt || (each.seenAt === seenAt && tab > me)).length >= KEPT;
}

/** `judge` is called whenever that may have changed. */
export function declare(judge) {
  channel?.addEventListener("message", ({ data }) => {
    if (data.gone) others.delete(data.tab);
    else others.set(data.tab, { seenAt: data.seenAt, at: Date.now() });
    if (data.asks) tell();
    judge();
  });
  document.addEventListener("visibilitychange", () => {
    seenAt = Date.now();
    tell();
    judge();
  });
  window.addEventListener("pagehide", () => tell({ gone: true }));
  window.addEventListener("pageshow", () => tell());
  setInterval(() => {
    tell();
    judge();
  }, TELL_MS);
  tell({ asks: true });
}
