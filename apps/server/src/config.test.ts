import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readCommandLine } from "./config.ts";
import { settings } from "./settings.ts";

let folder: string;
const file = (values: unknown) => {
  const name = join(folder, "config.json");
  writeFileSync(name, typeof values === "string" ? values : JSON.stringify(values));
  return name;
};

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "kvpage-config-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe("readCommandLine", () => {
  it("begins with the defaults", () => {
    const { config, printConfig } = readCommandLine([], {});
    expect(printConfig).toBe(false);
    expect(config).toEqual(Object.fromEntries(Object.entries(settings).map(([key, s]) => [key, s.default])));
    expect(config).toMatchObject({
      host: "127.0.0.1",
      port: 8080,
      kvMemory: "auto",
      hostMemory: 0,
      kvType: "f16",
    });
  });

  it("takes a flag before its variable, that before the file, that before the default", () => {
    const config = file({ port: 1, host: "a", kvMemory: "1MiB", threads: 3 });
    const environment = { KVPAGE_CONFIG: config, KVPAGE_PORT: "2", KVPAGE_HOST: "b", KVPAGE_FAST: "1" };
    expect(readCommandLine(["--port", "3"], environment).config).toMatchObject({
      port: 3,
      host: "b",
      kvMemory: 2 ** 20,
      threads: 3,
      fast: true,
      hostMemory: 0,
    });
    expect(readCommandLine(["--config", file({ port: 7 })], { KVPAGE_CONFIG: "/nowhere" }).config.port).toBe(
      7,
    );
  });

  it("reads what it prints", () => {
    const argv = [
      "--model",
      "m.gguf",
      "--kv-memory",
      "64MiB",
      "--page-tokens",
      "16",
      "--policy",
      "lru",
      "--fast",
    ];
    const { config } = readCommandLine(argv, {});
    expect(config).toMatchObject({ model: "m.gguf", kvMemory: 64 * 2 ** 20, pageTokens: 16, fast: true });
    expect(readCommandLine(["--config", file(config)], {}).config).toEqual(config);
    expect(readCommandLine(["--config", file(readCommandLine([], {}).config)], {}).config).toEqual(
      readCommandLine([], {}).config,
    );
  });

  it.each([
    ["--port", "70000", "an integer of 0..65535"],
    ["--port", "http", "an integer of 0..65535"],
    ["--kv-memory", "12XB", "such as 64MiB"],
    ["--host-memory", "auto", "such as 64MiB"],
    ["--kv-type", "f64", "one of f16, f32, q8_0"],
    ["--policy", "belady", "one of lru"],
    ["--policy", "lfd", "one of lru"],
    ["--predictor", "oracle", "one of recency"],
    ["--max-sequences", "0", "an integer of 1..4096"],
    ["--log-level", "loud", "one of silent"],
    ["--threads", "-1", "an integer of 1..512"],
  ])("refuses %s %s by name", (flag, value, expected) => {
    const attempt = () => readCommandLine([`${flag}=${value}`], {});
    expect(attempt).toThrow(`${flag} is "${value}"; expected `);
    expect(attempt).toThrow(expected);
    expect(attempt).toThrow(expect.objectContaining({ code: "KVPAGE_CONFIGURATION" }));
  });

  it("says where a bad value comes from", () => {
    expect(() => readCommandLine([], { KVPAGE_KV_MEMORY: "much" })).toThrow(
      '--kv-memory is "much" (from KVPAGE_KV_MEMORY); expected bytes',
    );
    expect(() => readCommandLine(["--config", file({ fast: "yes" })], {})).toThrow(
      /--fast is "yes" \(from "fast" in /,
    );
    expect(() => readCommandLine(["--config", file({ fats: true })], {})).toThrow(
      /--config is .*"fats" in it/,
    );
    expect(() => readCommandLine(["--config", file("{")], {})).toThrow(/--config is .*expected a JSON file/);
    expect(() => readCommandLine(["--config", file("[]")], {})).toThrow(
      /--config is .*expected a JSON object/,
    );
    expect(() => readCommandLine(["--config", "/nowhere"], {})).toThrow(/--config is "\/nowhere"/);
  });
});
