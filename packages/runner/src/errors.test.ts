import { readFileSync } from "node:fs";
import { expect, it } from "vitest";

const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8");

it("the README lists the error codes that there are", () => {
  const declared = [...read("./errors.ts").matchAll(/\| "(KVPAGE_\w+)"/g)].map((match) => match[1]);
  const listed = [...read("../README.md").matchAll(/^\| `(KVPAGE_\w+)`/gm)].map((match) => match[1]);
  expect(declared.length).toBeGreaterThan(5);
  expect([...listed].sort()).toEqual([...declared].sort());
});
