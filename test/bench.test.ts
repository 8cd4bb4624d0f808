import { execFile } from "node:child_process";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

// Tiny, so that the benchmarks cannot rot; what they measure here means nothing.
it.each([
  ["replay", ["--requests", "20000", "--capacity", "100", "--rounds", "1"]],
  ["vattention", ["--rounds", "1"]],
])("bench/%s runs and prints a JSON object a line", async (name, options) => {
  const flags = [
    "--conditions=@kvpage/source",
    "--import",
    "tsx",
    "bench/main.ts",
    name,
    ...options,
    "--json",
  ];
  const { stdout } = await promisify(execFile)(process.execPath, flags, { cwd: root });
  const rows = stdout.trim().split("\n");
  expect(rows.length).toBeGreaterThan(0);
  for (const row of rows) expect(typeof JSON.parse(row)).toBe("object");
});

it("names the benchmarks that there are", async () => {
  const flags = ["--conditions=@kvpage/source", "--import", "tsx", "bench/main.ts", "nothing"];
  await expect(promisify(execFile)(process.execPath, flags, { cwd: root })).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringContaining("replay, runner, vattention") as string,
  });
});
