import { readFileSync } from "node:fs";
import { policyNames, predictorNames } from "@kvpage/paging";
import { expect, it } from "vitest";
import { main } from "./command-line.ts";

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");

it("the README lists every flag, policy and predictor", async () => {
  let help = "";
  const terminal = { out: (text: string) => (help += text), error: () => {}, showsProgress: false };
  await main(["run", "--help"], terminal);
  const flags = [...new Set(help.match(/--[a-z-]+/g))].filter((flag) => flag !== "--help");
  expect(flags.length).toBeGreaterThan(10);
  for (const flag of flags) expect(readme).toContain(`\`${flag}`);
  for (const name of policyNames) expect(readme).toContain(`\`${name}\``);
  for (const name of predictorNames) expect(readme).toContain(`\`${name.replace("q", "0.1")}\``);
});
