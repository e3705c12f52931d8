// What agents see of each other, by pairs of regions.
import { seconds } from "./words.js";

/** "FROM TO" -> {rtt, age, reachable}: of several agents the one that sees best. A region that any of them reaches is in reach. */
export function roundTrips(status) {
  const found = new Map();
  for (const sight of status?.sights ?? []) {
    const key = `${sight.observer.split("/")[0]} ${sight.region}`;
    const seen = { rtt: seconds(sight.rtt), age: seconds(sight.age), reachable: Boolean(sight.reachable) };
    const known = found.get(key);
    if (!known || isBetter(seen, known)) found.set(key, seen);
  }
  return found;
}

function isBetter(one, other) {
  if (one.reachable !== other.reachable) return one.reachable;
  return (one.rtt ?? Infinity) < (other.rtt ?? Infinity);
}
