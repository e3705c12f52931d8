import { html } from "htm/preact";
import { render } from "preact";
import "@preact/signals";
import { connection, follow, journal, status } from "./stream.js";

const group = new URLSearchParams(location.search).get("group") ?? "";

function App() {
  const now = status.value;
  return html`
    <main>
      <h1>Primacy</h1>
      <p role="status">Connection: ${connection.value}</p>
      ${now && html`<p>Group ${now.group}: ${now.activeRegion || "no region"} is active, epoch ${now.epoch}.</p>`}
      <ul>${journal.value.map((event) => html`<li key=${event.sequence}>${event.time} ${event.message}</li>`)}</ul>
    </main>
  `;
}

follow(group);
render(html`<${App} />`, document.getElementById("app"));
