import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { errorCodes, Readme } from "../../../test/support/readme.ts";

const readme = new Readme(import.meta.url);

it("the snippet prints what the README says", async () => {
  const { expected, printed } = await readme.runSnippet();
  expect(printed).toBe(expected);
});

it("lists every code that the types and the native code know, and no other", () => {
  // KVPAGE_VATTENTION_NATIVE is a variable.
  const codes = (text: string) => errorCodes(text.replaceAll("KVPAGE_VATTENTION", ""));
  const read = (file: string) => readFileSync(new URL(file, import.meta.url), "utf8");
  const listed = codes(readme.text);
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
