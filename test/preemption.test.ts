import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Engine, type EngineOptions, type GenerationRequest } from "@kvpage/engine";
import { generateModel, Model } from "@kvpage/runner";

const folder = mkdtempSync(join(tmpdir(), "kvpage-preemption-"));
afterAll(() => rmSync(folder, { recursive: true }));

const weights = ["F32", "Q8_0", "Q4_K"];

beforeAll(async () => {
  for (const type of weights) {
    await generateModel(join(folder, `${type}.gguf`), { weights: type, layers: 2 });
  }
});

/** Prompts of different lengths, greedy and sampled, all at once. */
const requests: GenerationRequest[] = Array.from({ length: 12 }, (_, i) => ({
  prompt: Int32Array.from({ length: 10 + 17 * (i % 5) }, (_, k) => 6 + ((k * 31 + i * 7) % 500)),
  maxTokens: 60,
  sampling: i % 2 === 0 ? {} : { temperature: 1, topP: 0.95, seed: BigInt(i) },
  ignoreEndOfGeneration: true,
}));

async function answers(type: string, threads: number, options: Partial<EngineOptions>) {
  await using model = await Model.load({ path: join(folder, `${type}.gguf`), threads });
  const pageBytes = 16 * model.kvLayout.rowBytes;
  await using engine = Engine.create({
    model,
    kvMemoryBytes: 400 * pageBytes,
    hostMemoryBytes: 0,
    contextTokens: 512,
    pageTokens: 16,
    ...options,
    ...(options.kvMemoryBytes === undefined ? {} : { kvMemoryBytes: options.kvMemoryBytes * pageBytes }),
    ...(options.hostMemoryBytes === undefined
      ? {}
      : { hostMemoryBytes: options.hostMemoryBytes * pageBytes }),
  });
  const results = await Promise.all(requests.map((request) => engine.generate(request)));
  engine.checkIntegrity();
  return { tokens: results.map((result) => [...result.tokens]), stats: engine.stats() };
}

describe.each(weights)("%s weights: running sequences outgrow the budget", (type) => {
  it("preempted by swap or recomputed, in whatever batch, they draw the same tokens", async () => {
    const alone = await answers(type, 1, { maxSequences: 1, stepTokens: 512 });
    expect(alone.stats.preemptions).toBe(0);
    const swapped = await answers(type, 2, { kvMemoryBytes: 20, hostMemoryBytes: 200 });
    expect(swapped.stats.preemptions).toBeGreaterThan(0);
    expect(swapped.stats.pageOut.preempt).toBeGreaterThan(0);
    expect(swapped.tokens).toEqual(alone.tokens);
    const recomputed = await answers(type, 2, { kvMemoryBytes: 20, stepTokens: 33 });
    expect(recomputed.stats.preemptions).toBeGreaterThan(0);
    expect(recomputed.stats.dropped).toBeGreaterThan(0);
    expect(recomputed.tokens).toEqual(alone.tokens);
  });
});
