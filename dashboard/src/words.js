// How figures, times and the words of the API are written for people.

/** Seconds of a proto3 JSON duration ("2.806s"), or null. */
export function seconds(duration) {
  if (duration === undefined || duration === null || duration === "") return null;
  const value = Number.parseFloat(duration);
  return Number.isFinite(value) ? value : null;
}

/** A length of time: "0.31 ms", "12 ms", "3.2 s", "4 min 10 s", "2 h 5 min", "3 d 4 h". */
export function span(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  const sign = value < 0 ? "−" : "";
  if (size === 0) return "0 s";
  if (size < 1e-3) return `${sign}${(size * 1e3).toFixed(2)} ms`;
  if (size < 1e-2) return `${sign}${(size * 1e3).toFixed(1)} ms`;
  if (size < 0.9995) return `${sign}${Math.round(size * 1e3)} ms`;
  if (size < 9.95) return `${sign}${size.toFixed(1)} s`;
  if (size < 59.5) return `${sign}${Math.round(size)} s`;
  return sign + long(Math.round(size));
}

function long(whole) {
  const parts = [
    [Math.floor(whole / 86400), "d"],
    [Math.floor((whole % 86400) / 3600), "h"],
    [Math.floor((whole % 3600) / 60), "min"],
    [whole % 60, "s"],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  return parts
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(" ");
}

/** A countdown: tenths below ten seconds, so that it visibly runs. */
export function countdown(value) {
  if (value === null) return "–";
  return value < 10 ? `${Math.max(value, 0).toFixed(1)} s` : span(value);
}

export function percent(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const hundred = value * 100;
  if (hundred === 0) return "0 %";
  if (Math.abs(hundred) < 0.1) return hundred < 0 ? ">−0.1 %" : "<0.1 %";
  // 99.95 must not look like all of it.
  if (hundred > 99 && hundred < 100) return `${(Math.floor(hundred * 1000) / 1000).toString()} %`;
  return `${Math.abs(hundred) < 10 ? trim(hundred.toFixed(1)) : Math.round(hundred)} %`;
}

const trim = (text) => text.replace(/\.0+$/, "");

export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1e9) return `${trim((value / 1e9).toFixed(1))} G`;
  if (size >= 1e6) return `${trim((value / 1e6).toFixed(1))} M`;
  if (size >= 1e4) return `${trim((value / 1e3).toFixed(1))} k`;
  if (size >= 100 || Number.isInteger(value)) return Math.round(value).toLocaleString("en");
  return trim(value.toPrecision(size >= 1 ? 3 : 2));
}

export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = Number(value);
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) [size, unit] = [size / 1024, unit + 1];
  return `${size < 10 && unit > 0 ? size.toFixed(1) : Math.round(size)} ${units[unit]}`;
}

/** A value of a series in its unit. */
export function inUnit(value, unit) {
  if (value === null || value === undefined) return "–";
  if (unit === "seconds") return span(value);
  if (unit === "share") return percent(value);
  if (unit === "bytes") return bytes(value);
  if (unit === "per second") return `${number(value)}/s`;
  return number(value);
}

export const counted = (count, word, words = `${word}s`) => `${number(Number(count))} ${Number(count) === 1 ? word : words}`;

/** "REGION_STATUS_HEALTHY" without its prefix, as words: "healthy". */
export function word(value, prefix) {
  const rest = value?.startsWith(prefix) ? value.slice(prefix.length) : (value ?? "");
  return rest === "UNSPECIFIED" ? "" : rest.toLowerCase().replaceAll("_", " ");
}

const two = (value) => String(value).padStart(2, "0");

/** "14:03:27", with the day when it is another one. */
export function clock(time) {
  if (!time) return "–";
  const date = new Date(time);
  const text = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return date.toDateString() === new Date().toDateString() ? text : `${day(date)} ${text}`;
}

/** The zone of all times that are shown: "Europe/Berlin, UTC+1". */
export function zone(date = new Date()) {
  const ahead = -date.getTimezoneOffset();
  const rest = Math.abs(ahead) % 60;
  const away = `UTC${ahead < 0 ? "−" : "+"}${Math.floor(Math.abs(ahead) / 60)}${rest ? `:${two(rest)}` : ""}`;
  return `${Intl.DateTimeFormat().resolvedOptions().timeZone ?? "local time"}, ${away}`;
}

export const day = (date) => date.toLocaleDateString("en", { day: "numeric", month: "short" });

/** What is lost when data is so far behind and its source is gone. */
export function lossText(lag) {
  const { age, entries, size } = measured(lag);
  if (age === null && entries === null && size === null) return "loss not measured";
  const known = [age ? `the last ${span(age)}` : "", entries ? counted(entries, "change") : "", size ? bytes(size) : ""];
  const parts = known.filter(Boolean);
  if (!parts.length) return "loses nothing";
  return `may lose ${parts[0]}${parts.length > 1 ? ` (${parts.slice(1).join(", ")})` : ""}`;
}

/** How far data is behind; empty when nobody measures it. */
export function lagText(lag) {
  const { age, entries, size } = measured(lag);
  const parts = [age === null ? "" : span(age), entries ? counted(entries, "change") : "", size ? bytes(size) : ""];
  return parts.filter(Boolean).join(", ");
}

function measured(lag) {
  const whole = (value) => (value === undefined ? null : Number(value));
  return { age: seconds(lag?.age), entries: whole(lag?.entries), size: whole(lag?.bytes) };
}

/** What a move would cost, in words. */
export function priceText(price) {
  if (!price) return "";
  const parts = [price.atRisk ? lossText(price.atRisk) : "loss not measured"];
  const added = seconds(price.addedLatency);
  if (added !== null && Math.abs(added) >= 1e-3) parts.push(`${span(Math.abs(added))} ${added > 0 ? "slower" : "faster"}`);
  if (price.capacityShort > 0) parts.push(`${number(price.capacityShort)} requests per second short`);
  return parts.join(", ");
}
