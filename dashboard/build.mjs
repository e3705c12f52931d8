// Bundles the dashboard into the coordinator's package: hashed names, compressed beside, and `index.html` last.
//
//   node build.mjs            builds once
//   node build.mjs --watch    builds again at every change; restart the coordinator to serve it
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import * as esbuild from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "../coordinator/primacy_coordinator/web/assets");
const licences = "licences.txt";

// Indentation within templates means nothing, and minifying leaves it.
const unindented = {
  name: "unindented",
  setup: (build) =>
    build.onLoad({ filter: /[\\/]dashboard[\\/]src[\\/].*\.js$/ }, async ({ path }) => ({
      contents: (await readFile(path, "utf-8")).replace(/\n[ \t]+/g, "\n"),
    })),
};

const options = {
  absWorkingDir: here,
  entryPoints: { app: "src/main.js", style: "src/main.css" },
  outdir: out,
  bundle: true,
  format: "esm",
  splitting: true, // What `import()` names comes when it is needed.
  minify: true,
  target: ["es2022", "chrome123", "firefox120", "safari17.5"],
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  assetNames: "[name]-[hash]",
  loader: { ".svg": "file", ".png": "file", ".woff2": "file" },
  legalComments: "none", // licences.txt has them whole.
  plugins: [unindented],
  metafile: true,
  write: false,
  logLevel: "warning",
};

// Writes what changed, then the page, then removes what no page names any more: a build that fails leaves the old one.
async function write(result) {
  await mkdir(out, { recursive: true });
  const written = new Set();
  const put = async (name, content) => {
    written.add(name);
    await writeFile(join(out, name), content);
    if (!/\.(png|woff2)$/.test(name)) {
      const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: content.length };
      await writeFile(join(out, `${name}.br`), brotliCompressSync(content, { params }));
      await writeFile(join(out, `${name}.gz`), gzipSync(content, { level: 9 }));
      written.add(`${name}.br`).add(`${name}.gz`);
    }
  };
  for (const file of result.outputFiles) await put(relative(out, file.path), Buffer.from(file.contents));
  await put(licences, Buffer.from(await licencesOf(result.metafile)));
  await put("index.html", Buffer.from(await page(result.metafile)));
  for (const name of await readdir(out)) if (!written.has(name)) await rm(join(out, name));
}

async function page(metafile) {
  const names = {};
  for (const [path, output] of Object.entries(metafile.outputs)) {
    if (output.entryPoint === "src/main.js") names.script = relative(out, join(here, path));
    if (output.entryPoint === "src/main.css") names.style = relative(out, join(here, path));
  }
  const template = await readFile(join(here, "index.html"), "utf-8");
  return template.replace(/\{\{(\w+)\}\}/g, (_, key) => {
    if (!(key in names)) throw new Error(`index.html: there is no {{${key}}}`);
    return `/assets/${names[key]}`;
  });
}

// The licence of every package that the bundle has a piece of.
async function licencesOf(metafile) {
  const packages = new Set();
  for (const input of Object.keys(metafile.inputs)) {
    const found = input.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\//);
    if (found) packages.add(found[1]);
  }
  const texts = ["The dashboard contains these packages.\n"];
  for (const name of [...packages].sort()) {
    const folder = join(here, "node_modules", name);
    const about = JSON.parse(await readFile(join(folder, "package.json"), "utf-8"));
    const file = (await readdir(folder)).find((each) => /^licen[sc]e/i.test(each));
    const text = file ? await readFile(join(folder, file), "utf-8") : `${about.license}\n`;
    texts.push(`${"-".repeat(80)}\n${name} ${about.version} (${about.license})\n\n${text}`);
  }
  return texts.join("\n");
}

if (process.argv.includes("--watch")) {
  const again = { name: "write", setup: (build) => build.onEnd((result) => result.errors.length || write(result)) };
  const context = await esbuild.context({ ...options, plugins: [unindented, again] });
  await context.watch();
} else {
  await write(await esbuild.build(options));
}
