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

it("lists every error code, and no other", () => {
  const codes = (text: string) => [...new Set(text.match(/KVPAGE_[A-Z_]+/g))].toSorted();
  expect(codes(readme)).toEqual(codes(read("./errors.ts")));
});
