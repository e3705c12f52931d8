// Could the group do without each of its regions?
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { call } from "./api.js";
import { activeRegion, group, isLooked, regions } from "./state.js";
import { isLive, status } from "./stream.js";
import { priceText, seconds, span } from "./words.js";

const EVERY_S = 5;
const EACH_MAX = 12;
/** By the region that is supposed to be down ("" for none): ExplainElection. */
const answers = signal({});

/** The election if the active region died; where none is active, if this region did. Undefined: not known yet. */
export const ifDown = (region) => answers.value[activeRegion.value || region] ?? (activeRegion.value ? undefined : answers.value[""]);

/** Asks again and again what would be if the active region died; where there is none, for each region, or, where they are
 *  many, for the election as it is: the coordinator has better things to do then. */
export function useReadiness() {
  const all = regions.value.map((region) => region.name);
  const names = activeRegion.value || (all.length > EACH_MAX ? "\n" : all.join("\n"));
  const live = isLive.value && isLooked.value;
  useEffect(() => {
    if (!live || !names) return undefined;
    let over = false;
    let timer = 0;
    const again = async () => {
      const found = {};
      for (const name of names === "\n" ? [""] : names.split("\n")) {
        try {
          found[name] = await call("ElectionService", "ExplainElection", { group: group.value, ifDown: name });
        } catch {
          // It is asked again soon; what is in the way, the banners say.
        }
        if (over) return;
      }
      answers.value = found;
      timer = setTimeout(again, EVERY_S * 1000);
    };
    again();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [names, live]);
}

/** What would happen if this region died now: {tone, text, why}.
 *  `then`: ExplainElection if the active region died; where none is active, if this region did. */
export function prospect(region, then) {
  const now = status.value;
  if (!then || !now) return { tone: "quiet", text: "…", why: [] };
  const active = now.activeRegion;
  const others = then.candidates.filter((each) => each.region !== region && each.region !== active);
  const able = others.filter((each) => each.eligible);
  const why = others.filter((each) => each.rule).map((each) => `${each.region}: ${each.rule}, ${each.detail}`);
  if (active && active !== region) {
    const behind = able.map((each) => each.region);
    const text = behind.length
      ? `${active} stays active; ${list(behind)} could still follow it`
      : `${active} stays active, and nobody could follow it`;
    return { tone: behind.length ? "ok" : "warn", text, why };
  }
  if (now.doubt) return { tone: "bad", text: "nobody takes over: the coordinator doubts its store", why: [now.doubt.reason] };
  if (!able.length) return { tone: "bad", text: "nobody takes over", why: why.length ? why : ["there is no other region"] };
  const [best, ...rest] = able;
  const obstacles = byHand(now, best.price);
  const price = best.price ? priceText(best.price) : "";
  return {
    tone: obstacles.length ? "warn" : "ok",
    text: `${best.region} takes over${obstacles.length ? ", once somebody says so" : ""}${price ? `: ${price}` : ""}`,
    why: [...obstacles, ...delays(now), ...(rest.length ? [`after it ${list(rest.map((each) => each.region))}`] : []), ...why],
  };
}

const list = (names) => (names.length > 4 ? `${names.slice(0, 3).join(", ")} and ${names.length - 3} more` : names.join(", "));

function byHand(now, price) {
  const found = now.overrides
    .filter((each) => each.kind === "OVERRIDE_KIND_PAUSE")
    .map((each) => `moves are paused for another ${span(seconds(each.remaining))}: ${each.reason}`);
  if (now.policy.approvalAction !== "APPROVAL_ACTION_MOVE" && isDear(price?.atRisk, now.policy.maxLoss)) {
    found.push("it may lose more than maxLoss: it waits for an approval");
  }
  return found;
}

function delays(now) {
  const wait = seconds(now.lease?.restartWait);
  const found = wait ? [`not before ${span(wait)} after the coordinator's start`] : [];
  if (now.selfDoubt) found.push(`self-doubt for ${span(seconds(now.selfDoubt.remaining))} at most: ${now.selfDoubt.reason}`);
  return found;
}

/** Whether what may be lost is above one of the limits; what is not known exceeds none. */
function isDear(lag, limits) {
  if (!lag || !limits) return false;
  const above = (value, limit) => value !== undefined && limit !== undefined && Number.parseFloat(value) > Number.parseFloat(limit);
  return above(lag.age, limits.age) || above(lag.entries, limits.entries) || above(lag.bytes, limits.bytes);
}
