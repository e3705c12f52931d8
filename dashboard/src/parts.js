// Small parts that panels are made of.
import { html } from "htm/preact";
import { Component } from "preact";

/** What this browser keeps of it: nothing, where it may not. */
export function remembered(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // It holds until the page is loaded anew.
  }
}

/** A part of the page that may fail by itself, with an answer that it cannot read: the rest goes on. */
export class Guarded extends Component {
  componentDidCatch(error) {
    console.error(error);
    this.setState({ error });
  }
  render({ what, id, children }, { error }) {
    if (!error) return children;
    return html`
      <section class="panel" id=${id} data-test="broken">
        <p class="empty bad">${what} cannot be shown: ${String(error.message ?? error)}. Load the page anew: it may be older than the coordinator.</p>
        <button type="button" class="small" onClick=${() => this.setState({ error: null })}>Try again</button>
      </section>
    `;
  }
}

/** A panel of the page: a landmark with a heading. `aside`: controls at the right of the heading. */
export function Panel({ id, title, note, aside, children, wide }) {
  return html`
    <section class=${`panel ${wide ? "wide" : ""}`} id=${id} aria-labelledby=${`${id}-title`}>
      <header class="panel-head">
        <h2 id=${`${id}-title`}>${title}</h2>
        ${note && html`<p class="note">${note}</p>`}
        ${aside && html`<div class="aside">${aside}</div>`}
      </header>
      ${children}
    </section>
  `;
}

export const Empty = ({ children }) => html`<p class="empty">${children}</p>`;

/** Why something could not be had, and what it is instead. */
export function Trouble({ error }) {
  if (!error) return null;
  const quiet = error.reason === "NOT_MEASURED" || error.code === "UNAVAILABLE";
  return html`<p class=${quiet ? "empty" : "empty bad"}>${quiet ? "Not measured yet" : "Not to be had"}: ${error.message}</p>`;
}

/** A wide table, which scrolls by itself and not the page, also by keyboard. */
export const Scroll = ({ label, children, class: more = "" }) => html`
  <div class=${`scroll ${more}`} role="region" aria-label=${label} tabindex="0">${children}</div>
`;

/** A choice of a few: radio buttons that look like a bar. */
export function Choice({ label, name, options, value, onChange }) {
  return html`
    <fieldset class="choice">
      <legend class="unseen">${label}</legend>
      ${options.map(
        ([key, text]) => html`
          <label key=${key}>
            <input type="radio" name=${name} value=${key} checked=${value === key} onChange=${() => onChange(key)} />
            <span>${text}</span>
          </label>
        `,
      )}
    </fieldset>
  `;
}

/** A choice of many. */
export function Select({ label, options, value, onChange, shown = true, disabled = false }) {
  return html`
    <label class="select">
      <span class=${shown ? "" : "unseen"}>${label}</span>
      <select value=${value} disabled=${disabled} onChange=${(event) => onChange(event.currentTarget.value)}>
        ${options.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === value}>${text}</option>`)}
      </select>
    </label>
  `;
}

/** A share as a bar. Its text must be beside it: it says nothing to those who cannot see. */
export function Bar({ share, colour = "var(--accent)", tone = "" }) {
  const width = Math.max(0, Math.min(1, share || 0)) * 100;
  return html`<span class=${`bar ${tone}`} aria-hidden="true"><span style=${{ width: `${width}%`, background: colour }}></span></span>`;
}

/** A sentence of the coordinator, with the commands in it as such: they stand between backticks. */
export const Text = ({ children }) =>
  String(children ?? "")
    .split("`")
    .map((part, index) => (index % 2 ? html`<code key=${index}>${part}</code>` : part));

export const Swatch = ({ colour }) => html`<span class="swatch" aria-hidden="true" style=${{ background: colour }}></span>`;
