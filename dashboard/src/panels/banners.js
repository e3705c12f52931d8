// What overshadows everything else on the page, said on top of it.
import { html } from "htm/preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ask } from "../actions.js";
import { Glyph, statusWord } from "../glyphs.js";
import { connection, health, held, hello, outdated, silence, status, trouble } from "../stream.js";
import { seconds, span, word } from "../words.js";

export function Banners() {
  const now = status.value;
  const found = [...ofConnection(), ...(now ? ofGroup(now) : [])];
  return found.length > 0 && html`<section class="banners" aria-label="Notices">${found}</section>`;
}

const Banner = ({ tone, shape, title, children, button }) => html`
  <div class=${`banner ${tone}`} role=${tone === "bad" ? "alert" : null} data-test="banner">
    <${Glyph} shape=${shape} />
    <p><strong>${title}</strong> ${children}</p>
    ${button}
  </div>
`;

function ofConnection() {
  const found = [];
  // Not the seconds themselves in an alert: screen readers would read each one.
  const ago = html`<span aria-hidden="true">, ${span(Math.round(silence.value))} ago</span>`;
  const refused = connection.value === "refused" && trouble.value;
  if (held.value && !trouble.value) {
    found.push(html`
      <${Banner} key="held" tone="warn" shape="dots" title="The connection waits.">
        The coordinator does not answer, or this browser has too many tabs of it open: to one address it has at most six
        connections, and every tab that is in view takes one. Close some, or use a proxy with HTTP/2.
      </${Banner}>
    `);
  }
  if (health.value === "lost" && !refused) {
    found.push(html`
      <${Banner} key="lost" tone="bad" shape="cross" title="Disconnected from the coordinator.">
        Everything below is as it last was${ago}. This page tries again by
        itself. Agents go on without the coordinator as the policy says; what they do now is not shown here.
      </${Banner}>
    `);
  }
  if (health.value === "stale" && !trouble.value) {
    found.push(html`
      <${Banner} key="stale" tone="bad" shape="triangle" title="Stale.">
        The connection is open, and nothing came over it<span aria-hidden="true"> for ${span(Math.round(silence.value))}</span>. Do not decide by
        what is below.
      </${Banner}>
    `);
  }
  if (trouble.value) {
    found.push(
      html`<${Banner} key="trouble" tone="bad" shape="cross" title=${refused ? "The coordinator refuses to tell more:" : "The status cannot be read:"}>
        ${trouble.value.message}. ${status.value && html`Everything below is as it last was${ago}. `}This page tries again by itself.
      </${Banner}>`,
    );
  }
  if (outdated.value) {
    const again = html`<button type="button" onClick=${() => location.reload()}>Load it anew</button>`;
    found.push(html`
      <${Banner} key="outdated" tone="info" shape="info" title="The coordinator is another version now." button=${again}>
        This page is still of the one before.
      </${Banner}>
    `);
  }
  if (hello.value && !hello.value.actions) {
    found.push(html`<${Banner} key="off" tone="quiet" shape="info" title="Read only.">${hello.value.actionsOff}</${Banner}>`);
  }
  return found;
}

function ofGroup(now) {
  const found = [];
  if (now.doubt) {
    found.push(html`
      <${Banner} key="doubt" tone="bad" shape="cross" title="The coordinator doubts its store: nothing is granted or renewed.">
        ${now.doubt.reason}. <code>primacy recover${flag(now)}</code> shows what is known, and ends it.
      </${Banner}>
    `);
  }
  if (now.selfDoubt) {
    found.push(html`
      <${Banner} key="self" tone="warn" shape="diamond" title="The coordinator suspects itself, and puts off verdicts and elections.">
        ${now.selfDoubt.reason}. This ends in ${span(seconds(now.selfDoubt.remaining))} at the latest.
      </${Banner}>
    `);
  }
  if (!now.regions.length) {
    found.push(html`
      <${Banner} key="new" tone="info" shape="info" title=${`Group ${now.group} has no regions yet.`}>
        A region comes with its first agent: start one with <code>primacy-agent --config agent.yaml</code>; or try
        <code>primacy up</code>, which runs three on this machine.
      </${Banner}>
    `);
  } else if (!now.activeRegion && !now.doubt) {
    const wait = seconds(now.lease?.restartWait);
    found.push(html`
      <${Banner} key="nobody" tone="bad" shape="cross" title="No region is active: writes go nowhere.">
        ${wait ? html`After its start the coordinator offers nothing for a while<span aria-hidden="true">: another ${span(wait)}</span>.` : now.failover ? "A move is under way, see Moves." : "The candidates of the last move say why not."}
      </${Banner}>
    `);
  }
  if (now.panic) {
    found.push(html`
      <${Banner} key="panic" tone="warn" shape="triangle" title="Panic: too few regions look healthy.">
        Reads go to all that serve, whatever their figures, so that the rest is not overrun.
      </${Banner}>
    `);
  }
  for (const pause of now.overrides?.filter((each) => each.kind === "OVERRIDE_KIND_PAUSE") ?? []) {
    found.push(html`
      <${Banner} key="pause" tone="warn" shape="pause" title="Automatic moves are paused.">
        ${pause.owner}: “${pause.reason}”. The lease does not move by itself for another ${span(seconds(pause.remaining))}.
      </${Banner}>
    `);
  }
  if (now.failover?.state === "FAILOVER_STATE_AWAITING_APPROVAL") {
    found.push(html`
      <${Banner}
        key="approval"
        tone="bad"
        shape="pause"
        title=${`The move to ${now.failover.toRegion} waits for an approval.`}
        button=${html`<button type="button" class="primary" onClick=${() => ask("approve", { failover: now.failover })}>Decide…</button>`}
      >
        It may lose more than the policy allows.
      </${Banner}>
    `);
  }
  return found;
}

const flag = (now) => (now.group === "default" ? "" : ` --group ${now.group}`);

/** Says changes to whoever cannot see them: one sentence at a time, and only changes. */
export function Announcer() {
  const said = useRef(null);
  const [text, say] = useState("");
  const now = status.value;
  const state = now && {
    active: now.activeRegion,
    move: now.failover ? word(now.failover.state, "FAILOVER_STATE_") : "",
    statuses: Object.fromEntries(now.regions.map((each) => [each.name, statusWord(each.status)])),
  };
  const key = JSON.stringify([state, health.value]);
  useEffect(() => {
    const before = said.current;
    said.current = { state, health: health.value };
    if (!before) return;
    const news = [];
    if (before.health !== health.value) news.push(`Connection: ${health.value}`);
    if (state && before.state) {
      for (const [name, each] of Object.entries(state.statuses)) if (before.state.statuses[name] !== each) news.push(`${name} is ${each}`);
      if (before.state.active !== state.active) news.push(state.active ? `${state.active} is the active region` : "no region is active");
      if (state.move && before.state.move !== state.move) news.push(`the move is ${state.move}`);
    }
    if (news.length) say(`${news.join("; ")}.`);
  }, [key]);
  return html`<p class="unseen" role="status" aria-live="polite">${text}</p>`;
}
