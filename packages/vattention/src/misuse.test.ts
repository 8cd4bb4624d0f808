import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const run = promisify(execFile);
const child = fileURLToPath(new URL("./misuse.child.ts", import.meta.url));

it.each([1, 2, 3, 4])(
  "no argument, order of calls or use after disposal ends the process (seed %i)",
  async (seed) => {
    const args = ["--import", "tsx", "--conditions=@kvpage/source", child, String(seed), "20000"];
    const { stdout } = await run(process.execPath, args, { timeout: 50_000 });
    const { refused, done } = JSON.parse(stdout) as { refused: number; done: number };
    expect(refused).toBeGreaterThan(1000);
    expect(done).toBeGreaterThan(1000);
  },
);
