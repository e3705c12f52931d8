// What several panels share: the group, its regions, their colours, and what is asked of the API again and again.
import { computed, signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { call } from "./api.js";
import { health, isLive, status } from "./stream.js";

const asked = new URLSearchParams(location.search).get("group") ?? "";

/** The group that was asked for; empty: the default one. */
export const group = signal(asked);
export const regions = computed(() => status.value?.regions ?? []);
export const activeRegion = computed(() => status.value?.activeRegion ?? "");
/** A region that the reader picked, on the map or in a list; empty: none. */
export const picked = signal("");

/** Whether anybody can see this page. */
export const isLooked = signal(!document.hidden);
document.addEventListener("visibilitychange", () => (isLooked.value = !document.hidden));

const COLOURS = 10;
const names = computed(() => regions.value.map((region) => region.name).join("\n"));
const places = computed(() => new Map(names.value.split("\n").map((name, index) => [name, index])));

/** The colour of a region in charts: the same everywhere. CSS. */
export function colourOf(region) {
  const index = places.value.get(region);
  if (index === undefined) return "var(--muted)"; // It is not registered any more.
  if (index < COLOURS) return `var(--series-${index + 1})`;
  return `hsl(${Math.round(index * 137.508) % 360} 55% 52%)`;
}

/** Share of all reads that goes to each region: a Map. Client regions count as the policy says, or alike. */
export const readShares = computed(() => {
  const rows = status.value?.readWeights?.rows ?? [];
  const traffic = status.value?.policy?.clientTraffic ?? {};
  const counts = rows.map((row) => traffic[row.clientRegion] ?? (Object.keys(traffic).length ? 0 : 1));
  const all = counts.reduce((sum, each) => sum + each, 0);
  const shares = new Map();
  rows.forEach((row, index) => {
    const part = all ? counts[index] / all : 1 / rows.length;
    for (const [region, weight] of Object.entries(row.weights)) shares.set(region, (shares.get(region) ?? 0) + weight * part);
  });
  return shares;
});

/** Calls a method at once, when `request` changes, every `everyS` seconds, and when the coordinator or the reader is back.
 *  Returns {answer, error, again}: the answer stays while it is asked anew. */
export function useAsked(service, method, request, everyS, live = isLive.value) {
  const key = JSON.stringify(request);
  const looked = isLooked.value;
  const [kept, keep] = useState({ key: null, answer: null, error: null });
  const [round, again] = useState(0);
  useEffect(() => {
    if (request === null || !live || !looked) return undefined;
    let over = false;
    let timer = 0;
    const ask = async () => {
      try {
        const answer = await call(service, method, { group: group.value, ...request });
        if (!over) keep({ key, answer, error: null });
      } catch (error) {
        if (!over) keep((was) => ({ key, answer: was.key === key ? was.answer : null, error }));
      }
      if (!over) timer = setTimeout(ask, everyS * 1000);
    };
    ask();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [service, method, key, everyS, live, looked, round]);
  return {
    answer: kept.answer,
    error: kept.error,
    /** Whether the answer is of an earlier request. */
    old: kept.key !== key,
    again: () => again((count) => count + 1),
  };
}

export { health };
