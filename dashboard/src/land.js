// The land of the earth, without Antarctica: nobody has a region there, and it takes a fifth of the map.
import { feature } from "topojson-client";
import topology from "world-atlas/land-110m.json";

const whole = feature(topology, topology.objects.land);
const geometry = whole.type === "FeatureCollection" ? whole.features[0].geometry : whole.geometry;

export const land = {
  type: "MultiPolygon",
  coordinates: geometry.coordinates.filter(([ring]) => ring.some(([, latitude]) => latitude > -60)),
};
