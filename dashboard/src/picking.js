// Picking a region on the map or in a list brings its card into view.
import { picked } from "./state.js";

export function pick(name) {
  picked.value = name;
  const card = document.getElementById(`region-${name}`);
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  card?.scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "center" });
  card?.focus({ preventScroll: true });
}
