// Where regions are, how far from each other, and where reads go.
import { geoEqualEarth, geoInterpolate, geoPath } from "d3-geo";
import { html } from "htm/preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Status, drawn, statusLook, statusWord } from "../glyphs.js";
import { Choice, Panel } from "../parts.js";
import { pick } from "../picking.js";
import { colourOf, readShares, regions } from "../state.js";
import { roundTrips } from "../sights.js";
import { status } from "../stream.js";
import { percent, span } from "../words.js";

const ALL_PAIRS_MAX = 6;
const MARGIN = 10;
const VIEWS = [
  ["rtt", "Round trips"],
  ["reads", "Reads"],
];

export function WorldMap() {
  const [view, setView] = useState("rtt");
  const [land, setLand] = useState(null);
  const [box, width] = useWidth();
  useEffect(() => {
    import("../land.js").then((module) => setLand(module.land));
  }, []);
  const all = regions.value;
  const placed = all.filter((region) => region.location);
  const lost = all.filter((region) => !region.location);
  return html`
    <${Panel}
      id="map"
      title="World"
      aside=${html`<${Choice} label="What the map shows" name="map-view" options=${VIEWS} value=${view} onChange=${setView} />`}
    >
      <div class="map" ref=${box}>
        ${width > 0 && land && html`<${Drawing} land=${land} width=${width} placed=${placed} view=${view} />`}
      </div>
      ${
        lost.length > 0 &&
        html`<p class="note">
        Without a location: ${lost.map((region) => html`<span key=${region.name} class="chip">${region.name} <${Status} value=${region.status} /></span> `)}
      </p>`
      }
      <${Twin} all=${all} />
    </${Panel}>
  `;
}

function useWidth() {
  const box = useRef(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.round(entry.contentRect.width)));
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  return [box, width];
}

function Drawing({ land, width, placed, view }) {
  const projection = geoEqualEarth()
    .rotate([-11, 0])
    .fitWidth(width - 12, land);
  const [[left, top], [, bottom]] = geoPath(projection).bounds(land);
  const [x, y] = projection.translate();
  projection.translate([x - left + 6, y - top + MARGIN]);
  const height = Math.round(bottom - top + 2 * MARGIN);
  const path = geoPath(projection);
  const at = ({ location }) => projection([location.longitude ?? 0, location.latitude ?? 0]);
  const taken = placed.map((region) => around(at(region), 18, 18));
  const arcs = view === "rtt" ? rttArcs(placed) : readArcs(placed);
  const marks = placed.map((region) => ({ region, point: at(region), name: label(region, at(region), taken, width) }));
  return html`
    <svg width=${width} height=${height} viewBox=${`0 0 ${width} ${height}`} role="img" aria-label=${`World map of ${placed.length} regions; the table after it says the same`}>
      <path class="land" d=${path(land)} />
      ${arcs.map((arc) => html`<${Arc} key=${arc.key} arc=${arc} path=${path} />`)}
      ${arcs.map((arc) => arcLabel(arc, projection, taken))}
      ${marks.map((mark) => html`<${Place} key=${mark.region.name} ...${mark} />`)}
    </svg>
  `;
}

const line = (from, to) => ({
  type: "LineString",
  coordinates: [from, to].map(({ location }) => [location.longitude ?? 0, location.latitude ?? 0]),
});

/** Every pair where they are few, else those of the active region. */
function rttArcs(placed) {
  const trips = roundTrips(status.value);
  const found = [];
  for (const [index, from] of placed.entries()) {
    for (const to of placed.slice(index + 1)) {
      if (placed.length > ALL_PAIRS_MAX && !from.active && !to.active) continue;
      const trip = better(trips.get(`${from.name} ${to.name}`), trips.get(`${to.name} ${from.name}`));
      if (!trip) continue;
      const text = trip.reachable ? span(trip.rtt) : "no answer";
      found.push({ key: `${from.name} ${to.name}`, shape: line(from, to), text, width: 1.5, class: trip.reachable ? "rtt" : "rtt cut" });
    }
  }
  return found;
}

function better(one, other) {
  if (!one || !other) return one ?? other;
  if (one.reachable !== other.reachable) return one.reachable ? other : one;
  return one.rtt <= other.rtt ? one : other;
}

function readArcs(placed) {
  const byName = new Map(placed.map((region) => [region.name, region]));
  const found = [];
  for (const row of status.value?.readWeights?.rows ?? []) {
    for (const [name, share] of Object.entries(row.weights)) {
      const [from, to] = [byName.get(row.clientRegion), byName.get(name)];
      if (!from || !to || from === to || share < 0.005) continue;
      found.push({
        key: `${row.clientRegion} ${name}`,
        shape: line(from, to),
        text: percent(share),
        width: 1 + share * 6,
        class: "reads",
        colour: colourOf(name),
      });
    }
  }
  return found;
}

const Arc = ({ arc, path }) => html`
  <path class=${`arc ${arc.class}`} d=${path(arc.shape)} style=${{ strokeWidth: `${arc.width}px`, stroke: arc.colour }} />
`;

function arcLabel(arc, projection, taken) {
  const [from, to] = arc.shape.coordinates;
  // The middle first; where that is taken, a little before or after it.
  for (const part of [0.5, 0.4, 0.6, 0.3, 0.7]) {
    const [x, y] = projection(geoInterpolate(from, to)(part));
    const box = around([x, y - 7], arc.text.length * 6.4 + 6, 14);
    if (taken.some((each) => overlaps(each, box))) continue;
    taken.push(box);
    return html`<text key=${`${arc.key} text`} class="arc-text" x=${x} y=${y - 3} text-anchor="middle">${arc.text}</text>`;
  }
  return null;
}

/** Where the name of a region has room: [dx, dy, anchor], or null. */
function label(region, [x, y], taken, width) {
  const size = region.name.length * 7.2;
  const tries = [
    [14, 4, "start", x + 14 + size / 2, y],
    [-14, 4, "end", x - 14 - size / 2, y],
    [0, 25, "middle", x, y + 21],
    [0, -17, "middle", x, y - 21],
  ];
  for (const [dx, dy, anchor, middle, height] of tries) {
    const box = around([middle, height], size, 15);
    if (middle - size / 2 < 0 || middle + size / 2 > width || taken.some((each) => overlaps(each, box))) continue;
    taken.push(box);
    return [dx, dy, anchor];
  }
  return null;
}

const around = ([x, y], width, height) => [x - width / 2, y - height / 2, x + width / 2, y + height / 2];
const overlaps = (one, other) => one[0] < other[2] && other[0] < one[2] && one[1] < other[3] && other[1] < one[3];

function Place({ region, point: [x, y], name }) {
  const [shape, tone] = statusLook(region.status);
  const share = readShares.value.get(region.name) ?? 0;
  const off = isOff(region);
  return html`
    <g class=${`place ${tone} ${region.active ? "active" : ""}`} transform=${`translate(${x} ${y})`} onClick=${() => pick(region.name)}>
      <title>${placeText(region, share)}</title>
      ${region.active && html`<circle class="halo" r="16" />`}
      <circle class="ground" r="11" />
      <circle class="ring" r="11" />
      ${share > 0.002 && html`<path class="share" d=${pie(11, share)} />`}
      ${drawn(shape)}
      ${off && html`<path class="off" d="M-11 11 11-11" />`}
      ${name && html`<text x=${name[0]} y=${name[1]} text-anchor=${name[2]}>${region.name}</text>`}
    </g>
  `;
}

/** A ring's part, clockwise from the top. */
function pie(radius, share) {
  const turn = Math.min(share, 0.9999) * 2 * Math.PI;
  const end = [radius * Math.sin(turn), -radius * Math.cos(turn)].map((value) => value.toFixed(2));
  return `M0-${radius}A${radius} ${radius} 0 ${share > 0.5 ? 1 : 0} 1 ${end.join(" ")}`;
}

const isOff = (region) => region.cordoned || (region.drainState && region.drainState !== "DRAIN_STATE_NONE");

function placeText(region, share) {
  const off = [region.cordoned ? "cordoned" : "", isDrained(region)].filter(Boolean).join(", ");
  return `${region.name}: ${statusWord(region.status)}${region.active ? ", active" : ""}${off ? `, ${off}` : ""}; ${percent(share)} of the reads`;
}

const isDrained = (region) =>
  region.drainState === "DRAIN_STATE_NONE" ? "" : region.drainState?.slice("DRAIN_STATE_".length).toLowerCase();

const degrees = (value = 0, above, below) => `${Math.abs(value)}° ${value < 0 ? below : above}`;

/** The same for those who cannot see the map. */
const Twin = ({ all }) => html`
  <div class="unseen"><table>
    <caption>Regions on the map</caption>
    <thead><tr><th scope="col">Region</th><th scope="col">Status and reads</th><th scope="col">Place</th></tr></thead>
    <tbody>
      ${all.map(
        (region) => html`
          <tr key=${region.name}>
            <th scope="row">${region.name}</th>
            <td>${placeText(region, readShares.value.get(region.name) ?? 0)}</td>
            <td>${region.location ? `${degrees(region.location.latitude, "north", "south")}, ${degrees(region.location.longitude, "east", "west")}` : "not known"}</td>
          </tr>
        `,
      )}
    </tbody>
  </table></div>
`;
