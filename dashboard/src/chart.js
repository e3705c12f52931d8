// A chart over time: uPlot, in this page's colours, with a legend in HTML and a table for those who cannot see it.
import { html } from "htm/preact";
import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { Swatch } from "./parts.js";
import { clock, inUnit } from "./words.js";

const GAP_STEPS = 2.5;

/** Points of several series on one axis of times: [times, values, …], in seconds, with null where a series has none.
 *  A series that pauses for more than a few steps gets a gap. */
export function aligned(series, stepS) {
  const at = new Set();
  for (const each of series) {
    const usualS = Math.max(stepS, usual(each.points));
    let last = null;
    for (const { time } of each.points) {
      if (last !== null && time - last > GAP_STEPS * usualS) at.add(last + stepS);
      at.add(time);
      last = time;
    }
  }
  const times = [...at].sort((a, b) => a - b);
  const place = new Map(times.map((time, index) => [time, index]));
  return [
    times,
    ...series.map((each) => {
      const values = new Array(times.length).fill(null);
      for (const point of each.points) values[place.get(point.time)] = point.value;
      return values;
    }),
  ];
}

/** How long after one point the next one comes, usually: some things are measured less often than there are steps. */
function usual(points) {
  const gaps = points.slice(1).map((point, index) => point.time - points[index].time);
  return gaps.sort((a, b) => a - b)[gaps.length >> 1] ?? 0;
}

/** Values put on top of each other, the first at the bottom. A null counts as nothing where any other has a value. */
function stacked([times, ...columns]) {
  const sums = new Array(times.length).fill(0);
  const empty = times.map((_, index) => columns.every((column) => column[index] === null));
  return [times, ...columns.map((column) => column.map((value, index) => (empty[index] ? null : (sums[index] += value ?? 0))))];
}

/** series: [{name, colour, points: [{time, value}]}], times in seconds. `onZoom(from, to)` when a range is dragged. */
export function Chart({ label, series, unit, stepS, range, stack = false, height = 220, onZoom, sync }) {
  const box = useRef(null);
  const plot = useRef(null);
  const [cursor, setCursor] = useState(null);
  const [off, setOff] = useState(() => new Set());
  const [theme, setTheme] = useState(0);
  const shown = series.filter((each) => !off.has(each.name));
  const data = aligned(shown, stepS);
  const keys = JSON.stringify([shown.map((each) => [each.name, each.colour, each.dashed]), unit, stack, height, theme]);
  const given = useRef({});
  given.current = { data, range, onZoom, unit };

  useEffect(() => onTheme(() => setTheme((count) => count + 1)), []);
  useEffect(() => {
    const mine = make(box.current, shown, given, { stack, height, sync }, setCursor);
    plot.current = mine;
    const observer = new ResizeObserver(([entry]) => mine.setSize({ width: Math.max(120, Math.floor(entry.contentRect.width)), height }));
    observer.observe(box.current);
    return () => {
      observer.disconnect();
      mine.destroy();
      plot.current = null;
    };
  }, [keys]);
  useEffect(() => {
    plot.current?.setData(stack ? stacked(data) : data);
  });

  const toggle = (name) => {
    const next = new Set(off);
    if (!next.delete(name)) next.add(name);
    if (next.size < series.length) setOff(next);
  };
  const at = cursor !== null && data[0][cursor] !== undefined ? cursor : null;
  return html`
    <div class="chart" role="img" aria-label=${`${label}: the table after it has the newest values`} ref=${box}></div>
    <ul class="legend" aria-label=${`Series of ${label}`}>
      ${series.map((each) => {
        const column = shown.indexOf(each);
        const value = column < 0 ? null : at === null ? newest(data[column + 1]) : data[column + 1][at];
        return html`
          <li key=${each.name}>
            <button type="button" aria-pressed=${column >= 0} onClick=${() => toggle(each.name)}>
              <${Swatch} colour=${each.colour} />${each.name} <span class="value">${inUnit(value, unit)}</span>
            </button>
          </li>
        `;
      })}
      <li class="muted when">${at === null ? "" : clock(data[0][at] * 1000)}</li>
    </ul>
    <${Newest} label=${label} series=${shown} data=${data} unit=${unit} />
  `;
}

const newest = (values) => values.findLast((each) => each !== null) ?? null;

const Newest = ({ label, series, data, unit }) => html`
  <div class="unseen"><table>
    <caption>${label}: newest, least and greatest values</caption>
    <thead><tr><th scope="col">Series</th><th scope="col">Newest</th><th scope="col">Least</th><th scope="col">Greatest</th></tr></thead>
    <tbody>
      ${series.map((each, index) => {
        const values = data[index + 1].filter((value) => value !== null);
        const of = (choose) => (values.length ? inUnit(choose(values), unit) : "–");
        return html`
          <tr key=${each.name}>
            <th scope="row">${each.name}</th><td>${of((all) => all.at(-1))}</td>
            <td>${of((all) => all.reduce((a, b) => Math.min(a, b)))}</td><td>${of((all) => all.reduce((a, b) => Math.max(a, b)))}</td>
          </tr>
        `;
      })}
    </tbody>
  </table></div>
`;

function onTheme(react) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", react);
  window.addEventListener("themechange", react);
  return () => {
    dark.removeEventListener("change", react);
    window.removeEventListener("themechange", react);
  };
}

/** What a CSS colour is now: canvases know no variables. */
function resolved(colour, alpha = 1) {
  const probe = document.createElement("i");
  probe.style.color = alpha === 1 ? colour : `color-mix(in srgb, ${colour} ${alpha * 100}%, transparent)`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function make(box, shown, given, { stack, height, sync }, setCursor) {
  const [muted, grid] = [resolved("var(--muted)"), resolved("var(--line)")];
  const axis = {
    stroke: muted,
    grid: { stroke: grid, width: 1 },
    ticks: { stroke: grid, width: 1, size: 4 },
    font: "11px system-ui, sans-serif",
  };
  const now = () => Date.now() / 1000;
  const options = {
    width: Math.max(120, Math.floor(box.clientWidth)),
    height,
    padding: [10, 8, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: Boolean(given.current.onZoom), y: false, setScale: false }, ...(sync ? { sync: { key: sync } } : {}) },
    scales: {
      x: { time: true, range: () => given.current.range ?? [now() - 900, now()] },
      y: {
        range: (_, low, high) =>
          stack ? [0, Math.max(1, high || 0)] : [Math.min(0, low ?? 0), high > 0 ? high * 1.12 : given.current.unit === "share" ? 0.01 : 1],
      },
    },
    axes: [
      {
        ...axis,
        space: 70,
        values: [
          [86400, "{D} {MMM}", null, null, null, null, null, null, 1],
          [3600, "{HH}:{mm}", "\n{D} {MMM}", null, "\n{D} {MMM}", null, null, null, 1],
          [60, "{HH}:{mm}", "\n{D} {MMM}", null, "\n{D} {MMM}", null, null, null, 1],
          [1, "{HH}:{mm}:{ss}", "\n{D} {MMM}", null, "\n{D} {MMM}", null, null, null, 1],
        ],
      },
      { ...axis, size: 62, space: 34, values: (_, values) => values.map((value) => inUnit(value, given.current.unit)) },
    ],
    series: [
      {},
      ...shown.map((each) => ({
        label: each.name,
        stroke: resolved(each.colour),
        spanGaps: false,
        width: 1.6,
        dash: each.dashed ? [5, 4] : undefined,
        fill: stack ? resolved(each.colour, 0.42) : undefined,
        points: { show: (u, column, from, to) => to - from < 3 },
      })),
    ],
    bands: stack ? shown.slice(1).map((_, index) => ({ series: [index + 2, index + 1] })) : undefined,
    hooks: {
      setCursor: [(u) => setCursor(u.cursor.idx ?? null)],
      setSelect: [
        (u) => {
          if (u.select.width < 6) return;
          const [from, to] = [u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x")];
          u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
          given.current.onZoom?.(from, to);
        },
      ],
    },
  };
  const { data } = given.current;
  return new uPlot(options, stack ? stacked(data) : data, box);
}
