import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8");

it("the README's snippet runs and prints text", async () => {
  const [, snippet] = /```ts\n(.*?)```/s.exec(read("../README.md")) ?? [];
  // Where imports of the packages resolve and no other tool looks.
  const modules = fileURLToPath(new URL("../../../node_modules/.cache", import.meta.url));
  mkdirSync(modules, { recursive: true });
  const folder = mkdtempSync(join(modules, "kvpage-readme-"));
  try {
    writeFileSync(join(folder, "snippet.mts"), snippet!);
    const flags = ["--import", "tsx", "--conditions=@kvpage/source", "snippet.mts"];
    const { stdout } = await promisify(execFile)(process.execPath, flags, { cwd: folder });
    expect(stdout.trim().length).toBeGreaterThan(20);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it("the README lists the error codes that there are", () => {
  const declared = [...read("./errors.ts").matchAll(/\| "(KVPAGE_\w+)"/g)].map((match) => match[1]);
  const listed = [...read("../README.md").matchAll(/^\| `(KVPAGE_\w+)`/gm)].map((match) => match[1]);
  expect(declared.length).toBeGreaterThan(5);
  expect(new Set(listed)).toEqual(new Set(declared));
});
