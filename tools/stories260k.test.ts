import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, it } from "vitest";
import { Model } from "@kvpage/runner";
import { sharedFile } from "../test/support/shared.ts";

const folder = mkdtempSync(join(tmpdir(), "kvpage-tool-"));
afterAll(() => rmSync(folder, { recursive: true }));
const out = join(folder, "stories.gguf");

async function run(args: string[], env: Record<string, string> = {}) {
  const program = fileURLToPath(new URL("stories260k.ts", import.meta.url));
  const flags = ["--import", "tsx", "--conditions=@kvpage/source", program, ...args];
  return new Promise<{ code: unknown; text: string }>((resolve) => {
    execFile(process.execPath, flags, { env: { ...process.env, ...env } }, (error, stdout, stderr) =>
      resolve({ code: error?.code ?? 0, text: stdout + stderr }),
    );
  });
}

it("says that it skips where the checkpoint is absent", async () => {
  const { code, text } = await run([out], { KVPAGE_SHARED: folder });
  expect(code).toBe(0);
  expect(text).toMatch(/^skipped: .*stories260K\.bin is not there/);
  expect(existsSync(out)).toBe(false);
});

const { absent } = sharedFile("models/stories260K/stories260K.bin");
it.skipIf(absent)("writes the model and says so (skipped where the checkpoint is absent)", async () => {
  const { code, text } = await run([out]);
  expect(text).toMatch(`wrote ${out}: stories260K, float32`);
  expect(code).toBe(0);
  await using model = await Model.load({ path: out, threads: 1 });
  expect(model.info).toMatchObject({ architecture: "llama", weights: "F32", layers: 5, vocabulary: 512 });
  expect([...model.tokenize("Once upon a time")]).toEqual([1, 403, 407, 261, 378]);
});

it("says why it cannot", async () => {
  expect(await run([])).toMatchObject({ code: 1, text: expect.stringContaining("usage:") });
  if (absent) return;
  expect(await run([join(folder, "no/such.gguf")])).toMatchObject({ code: 1 });
});
