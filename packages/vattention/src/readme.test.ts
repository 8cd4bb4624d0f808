import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const read = (file: string) => readFileSync(new URL(file, import.meta.url), "utf8");
const readme = read("../README.md");

it("the snippet prints what the README says", async () => {
  const [, snippet = "", printed = ""] = /```js\n(.*?)```\n\nprints\n\n```\n(.*?)```/s.exec(readme) ?? [];
  const flags = ["--import", "tsx", "--conditions=@kvpage/source", "--input-type=module", "-e", snippet];
  const cwd = fileURLToPath(new URL("..", import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, flags, { cwd });
  expect(stdout).toBe(printed);
  expect(printed).not.toBe("");
});

it("lists every code that the types and the native code know, and no other", () => {
  const codes = (text: string) => [...new Set(text.match(/KVPAGE_(?!VATTENTION)[A-Z_]+/g))].toSorted();
  const listed = codes(readme);
  expect(listed).toEqual(codes(read("./errors.ts")));
  const native = [
    "kv_cache.cpp",
    "kv_cache_pages.cpp",
    "kv_cache_integrity.cpp",
    "posix_memory.cpp",
    "status.h",
  ];
  for (const file of native) {
    const known = codes(read(`../../../native/vattention/${file}`).replaceAll("KVPAGE_...", ""));
    expect(listed).toEqual(expect.arrayContaining(known));
  }
});
