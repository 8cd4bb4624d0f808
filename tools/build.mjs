// Builds what is missing: the native addons and the TypeScript packages, both as cached turbo tasks.
// --quiet: prints only on failure (for scripts whose output is the result).
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const quiet = process.argv.includes("--quiet");
const platform = `${process.platform}-${process.arch}`;
const native = ["vattention", "runner"].map((name) => `packages/${name}/prebuilds/${platform}/kvpage.node`);

for (const tool of ["cmake", "git", "c++"]) {
  if (spawnSync(tool, ["--version"], { stdio: "ignore" }).status === 0) continue;
  console.error(`kvpage: \`${tool}\` is missing. Building needs cmake ≥ 3.20, git and a C++20 compiler;`);
  console.error("on Debian: apt-get install cmake git g++");
  process.exit(1);
}

const firstTime = native.some((file) => !existsSync(root + file));
if (firstTime && !quiet) {
  console.log("kvpage: building the native addons: ggml, libllama (fetched once, 36 MB) and our own C++.");
  console.log("kvpage: once only; about 3 minutes on 2 cores.");
}
const started = performance.now();
const build = spawnSync("npx", ["turbo", "run", "build", "--output-logs=errors-only"], {
  cwd: root,
  stdio: quiet ? ["ignore", "pipe", "pipe"] : "inherit",
  env: { ...process.env, TURBO_TELEMETRY_DISABLED: "1" },
});
if (build.status !== 0) {
  if (quiet) process.stderr.write(Buffer.concat([build.stdout, build.stderr]));
  console.error("kvpage: the build failed; the messages above say where.");
  process.exit(build.status ?? 1);
}
if (!quiet) console.log(`kvpage: built in ${((performance.now() - started) / 1000).toFixed(1)} s`);
