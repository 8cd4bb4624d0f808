import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { flagOf } from "./config.ts";
import { type ServerConfig, settings } from "./settings.ts";

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");

it("the README lists every flag and every error code", () => {
  for (const key of Object.keys(settings) as (keyof ServerConfig)[])
    expect(readme).toContain(`\`${flagOf(key)}`);
  const source = readFileSync(new URL("errors.ts", import.meta.url), "utf8");
  for (const code of new Set(source.match(/KVPAGE_[A-Z_]+/g))) expect(readme).toContain(`\`${code}\``);
});

it("the README lists every metric", () => {
  const source = readFileSync(new URL("metrics.ts", import.meta.url), "utf8");
  const named = source.match(/"(vllm|kvpage):\w+"/g)!.map((name) => name.slice(1, -1));
  const histograms = source.match(/#histogram\("\w+"/g)!.map((call) => `vllm:${call.split('"')[1]}`);
  for (const name of [...named, ...histograms]) expect(readme).toContain(`\`${name}`);
});
