// npm test: builds everything, runs ctest, the C++ tests again under ASan and UBSan, then vitest, and ends with
// one line that counts them all.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const work = mkdtempSync(join(tmpdir(), "kvpage-test-"));
const jobs = String(availableParallelism());
const total = { passed: 0, failed: 0, skipped: 0 };

/** Runs a command; `quiet` shows what it prints only if it fails. */
function step(title, command, args, { env = {}, quiet = false } = {}) {
  const started = performance.now();
  console.log(`\n== ${title}`);
  const { status, output } = spawnSync(command, args, {
    cwd: root,
    stdio: quiet ? ["ignore", "pipe", "pipe"] : "inherit",
    maxBuffer: 2 ** 30,
    env: { ...process.env, ...env },
  });
  if (quiet && status !== 0) process.stdout.write(`${output?.[1] ?? ""}${output?.[2] ?? ""}`);
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  console.log(`== ${title}: ${status === 0 ? "ok" : "FAILED"} in ${seconds} s`);
  return status === 0;
}

/** Adds the counts of a JUnit report; a report that was never written is one failure. */
function count(report, ok) {
  let text = "";
  try {
    text = readFileSync(report, "utf8");
  } catch {
    // counted below
  }
  const cases = text.split("<testcase").slice(1);
  const failed = cases.filter((c) => /<failure|<error|status="fail"/.test(c)).length;
  const skipped = cases.filter((c) => /<skipped|status="(disabled|notrun)"/.test(c)).length;
  total.failed += failed;
  total.skipped += skipped;
  total.passed += cases.length - failed - skipped;
  // A crash, a timeout of the runner or an empty run must not look like success.
  if ((!ok && failed === 0) || cases.length === 0) total.failed++;
}

function ctest(title, build, env) {
  const make = ["--build", build, "-j", jobs, "--target", "kvpage_native_tests"];
  const built = step(`build ${title}`, "cmake", make, { quiet: true });
  const report = join(work, `${build.replaceAll("/", "-")}.xml`);
  const args = [
    "--test-dir",
    build,
    "--no-tests=error",
    "--output-on-failure",
    "--output-junit",
    report,
    "-j",
    jobs,
  ];
  count(report, built && step(title, "ctest", args, { env }));
}

function finish() {
  rmSync(work, { recursive: true, force: true });
  console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  process.exit(total.failed === 0 ? 0 : 1);
}

if (!step("build", process.execPath, ["tools/build.mjs"])) {
  total.failed++;
  finish();
}
// turbo restores the addons without a build folder when it has seen these sources before.
const configure = ["cmake-js", "configure", "--out", "build/release", "--CDCMAKE_BUILD_TYPE=Release"];
const configured = existsSync(join(root, "build/release/CMakeCache.txt"));
if (configured || step("configure", "npx", configure, { quiet: true })) {
  ctest("C++ tests", "build/release", {});
} else total.failed++;

const sanitized = "build/sanitized";
const flags = ["-DCMAKE_BUILD_TYPE=Release", "-DKVPAGE_ADDON=OFF", "-DKVPAGE_SANITIZE=address,undefined"];
if (step("configure with sanitizers", "cmake", ["-S", ".", "-B", sanitized, ...flags], { quiet: true })) {
  ctest("C++ tests under ASan and UBSan", sanitized, { UBSAN_OPTIONS: "halt_on_error=1:print_stacktrace=1" });
} else total.failed++;

const report = join(work, "vitest.xml");
const reporters = ["--reporter=default", "--reporter=junit", `--outputFile.junit=${report}`];
count(report, step("TypeScript and end-to-end tests", "npx", ["vitest", "run", ...reporters]));
finish();
