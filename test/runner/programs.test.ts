import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Runs a program of this folder in a process of its own, so that a crash is seen for what it is. */
async function run(program: string, ...args: string[]) {
  const flags = ["--expose-gc", "--import", "tsx", "--conditions=@kvpage/source", `test/runner/${program}`];
  return new Promise<{ code: unknown; signal: unknown; out: string }>((resolve) => {
    execFile(process.execPath, [...flags, ...args], { cwd: root, timeout: 50_000 }, (error, stdout, stderr) =>
      resolve({ code: error?.code ?? 0, signal: error?.signal ?? null, out: stdout + stderr }),
    );
  });
}

it("calls with anything give typed errors and never end the process", async () => {
  const { code, signal, out } = await run("misuse.ts", String(Date.now() % 1e6), "2000");
  expect({ code, signal }, out).toEqual({ code: 0, signal: null });
  expect(out).toMatch(/^seed \d+: \d+ refused, \d+ went through$/m);
});

it("damaged model files give typed errors or models, and never end the process", async () => {
  const folder = mkdtempSync(join(tmpdir(), "kvpage-damaged-"));
  const { code, signal, out } = await run("damaged.ts", folder, String(Date.now() % 1e6), "300");
  rmSync(folder, { recursive: true });
  expect({ code, signal }, out).toEqual({ code: 0, signal: null });
  expect(out).toMatch(/^seed \d+: \d+ refused, \d+ loaded$/m);
});

it.each([
  ["exit", 0],
  ["throw", 1],
  ["terminate", 0],
  ["forget", 0],
])("a process that ends in the middle of a step (%s) ends as it should", async (way, expected) => {
  const { code, signal, out } = await run("endings.ts", way);
  expect({ code, signal }, out).toEqual({ code: expected, signal: null });
});

it("a file that is no addon is named in the error", async () => {
  const source = `import("@kvpage/runner").then((m) => m.generateModel("x")).catch((e) => console.log(e.code, e.message))`;
  const out = await new Promise<string>((resolve) => {
    const env = { ...process.env, KVPAGE_RUNNER_NATIVE: "/no/such/file.node" };
    const flags = ["--import", "tsx", "--conditions=@kvpage/source", "-e", source];
    execFile(process.execPath, flags, { cwd: root, env }, (_, stdout, stderr) => resolve(stdout + stderr));
  });
  expect(out).toContain("KVPAGE_NO_NATIVE");
  expect(out).toContain("/no/such/file.node");
});
