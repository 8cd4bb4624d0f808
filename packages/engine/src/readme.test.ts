import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { errorCodes, Readme } from "../../../test/support/readme.ts";

const readme = new Readme(import.meta.url);

it("the snippet prints what the README says", async () => {
  const { expected, printed } = await readme.runSnippet();
  expect(printed).toBe(expected);
});

it("lists every error code, and no other", () => {
  const declared = readFileSync(new URL("./errors.ts", import.meta.url), "utf8");
  expect(errorCodes(readme.text)).toEqual(errorCodes(declared));
});
