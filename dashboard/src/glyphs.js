// Status by shape, word and colour: whoever cannot tell colours apart still sees which is which.
import { html } from "htm/preact";
import { word } from "./words.js";

// On a field of 16 by 16.
const SHAPES = {
  disc: html`<circle cx="8" cy="8" r="6" fill="currentColor" />`,
  triangle: html`<path d="M8 1.5 15 14H1z" fill="currentColor" />`,
  diamond: html`<path d="M8 .8 15.2 8 8 15.2.8 8z" fill="currentColor" />`,
  cross: html`<path d="M2 2h12v12H2z" fill="currentColor" /><path d="m5 5 6 6m0-6-6 6" stroke="var(--surface)" stroke-width="2" />`,
  half: html`<circle cx="8" cy="8" r="5.5" fill="none" stroke="currentColor" stroke-width="2" /><path d="M8 2.5a5.5 5.5 0 0 1 0 11z" fill="currentColor" />`,
  ring: html`<circle cx="8" cy="8" r="5" fill="none" stroke="currentColor" stroke-width="2.5" />`,
  dots: html`<circle cx="8" cy="8" r="5.5" fill="none" stroke="currentColor" stroke-width="2" stroke-dasharray="2.5 2.5" />`,
  info: html`<circle cx="8" cy="8" r="6.5" fill="none" stroke="currentColor" stroke-width="1.5" /><path d="M8 7.2v4M8 4.4v1.4" stroke="currentColor" stroke-width="1.8" />`,
  check: html`<path d="m2.5 8.5 3.5 3.5 7.5-8" fill="none" stroke="currentColor" stroke-width="2.2" />`,
  arrow: html`<path d="M2 8h11M9 3.5 13.5 8 9 12.5" fill="none" stroke="currentColor" stroke-width="2" />`,
  pause: html`<path d="M4 3h3v10H4zm5 0h3v10H9z" fill="currentColor" />`,
};

const STATUSES = {
  HEALTHY: ["disc", "ok"],
  DEGRADED: ["triangle", "warn"],
  SUSPECT: ["diamond", "warn"],
  DOWN: ["cross", "bad"],
  RECOVERING: ["half", "info"],
  JOINING: ["ring", "info"],
  UNKNOWN: ["dots", "quiet"],
};
const SEVERITIES = {
  CRITICAL: ["cross", "bad"],
  WARNING: ["triangle", "warn"],
  INFO: ["info", "info"],
};
const MOVES = {
  SUCCEEDED: ["check", "ok"],
  FAILED: ["cross", "bad"],
  ABORTED: ["diamond", "quiet"],
  AWAITING_APPROVAL: ["pause", "warn"],
};

export const Glyph = ({ shape }) => html`<svg class="glyph" viewBox="0 0 16 16" aria-hidden="true">${SHAPES[shape]}</svg>`;
/** The same, inside of another drawing, around its origin. */
export const drawn = (shape) => html`<g transform="translate(-8 -8)">${SHAPES[shape]}</g>`;

const look = (table, value, prefix, other) => table[value?.slice(prefix.length)] ?? other;

/** [shape, tone] */
export const statusLook = (value) => look(STATUSES, value, "REGION_STATUS_", ["dots", "quiet"]);
export const severityLook = (value) => look(SEVERITIES, value, "SEVERITY_", ["info", "quiet"]);
export const moveLook = (value) => look(MOVES, value, "FAILOVER_STATE_", ["arrow", "info"]);

export const statusWord = (value) => word(value, "REGION_STATUS_") || "unknown";
export const severityWord = (value) => word(value, "SEVERITY_") || "none";

/** How bad a status is, for sorting: the worst first. */
export const statusRank = (value) =>
  ["DOWN", "SUSPECT", "DEGRADED", "UNKNOWN", "RECOVERING", "JOINING", "HEALTHY"].indexOf(value?.slice("REGION_STATUS_".length));

export function Mark({ look: [shape, tone], children, strong }) {
  return html`<span class=${`mark ${tone} ${strong ? "strong" : ""}`}><${Glyph} shape=${shape} />${children}</span>`;
}

export const Status = ({ value }) => html`<${Mark} look=${statusLook(value)} strong>${statusWord(value)}</${Mark}>`;
export const SeverityMark = ({ value }) => html`<${Mark} look=${severityLook(value)}>${severityWord(value)}</${Mark}>`;
