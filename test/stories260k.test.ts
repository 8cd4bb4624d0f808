import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Engine } from "@kvpage/engine";
import { Model, StepBatch, TextStream } from "@kvpage/runner";
import { KvCache } from "@kvpage/vattention";
import { makeStories260k, stories260k } from "./support/stories260k.ts";

describe.skipIf(stories260k.checkpoint.absent)("stories260K, greedy, 200 steps from BOS alone", () => {
  let made: Awaited<ReturnType<typeof makeStories260k>>;
  let expected: string;

  beforeAll(async () => {
    made = await makeStories260k();
    expected = readFileSync(stories260k.expectedGreedy200.path, "utf8");
  });
  afterAll(() => made.remove());

  it.each([
    { kvType: "f16" as const, fast: false },
    { kvType: "f32" as const, fast: false },
    { kvType: "f32" as const, fast: true },
  ])("the engine prints the published text: $kvType, fast $fast", async (options) => {
    await using model = await Model.load({ path: made.path, threads: 2, ...options });
    await using engine = Engine.create({
      model,
      kvMemoryBytes: 8 << 20,
      hostMemoryBytes: 0,
      contextTokens: 512,
      pageTokens: 64,
    });
    const { tokens } = await engine.generate({ prompt: Int32Array.of(model.bosToken), maxTokens: 200 });
    const stream = new TextStream(model, model.bosToken);
    const text = [...tokens].map((token) => stream.push(token)).join("") + stream.flush();
    expect(text).toBe(expected);
  });

  it("so it does with its K and V paged out and back between any two tokens", async () => {
    await using model = await Model.load({ path: made.path, threads: 1, kvType: "f32" });
    const pageTokens = 16;
    const rowBytes = model.kvLayout.rowBytes;
    using cache = new KvCache({
      pageBytes: pageTokens * rowBytes,
      pages: 32,
      windows: 2,
      windowPages: 16,
      hostPages: 16,
    });
    model.setKvRegion(cache.baseAddress, cache.reservedBytes);
    const batch = new StepBatch({ maxSequences: 1, maxTokens: 1 });
    const stream = new TextStream(model, model.bosToken);
    const hostPages = Int32Array.from({ length: 16 }, () => cache.allocateHost());
    let window = cache.openWindow();
    let token = model.bosToken;
    let text = "";
    for (let position = 0; position < 200; position++) {
      const pages = Math.floor(position / pageTokens) + 1;
      cache.grow(window, pages);
      batch.sequences = 1;
      batch.address[0] = cache.windowAddress(window);
      batch.past[0] = position;
      batch.count[0] = 1;
      batch.tokens[0] = token;
      batch.sample[0] = 1;
      await model.step(batch);
      token = batch.next[0]!;
      text += stream.push(token);

      const before = readRows(cache, window, (position + 1) * rowBytes);
      const old = Int32Array.from({ length: pages }, (_, i) => cache.pageAt(window, i));
      await cache.pageOut(old, hostPages.subarray(0, pages));
      const other = cache.openWindow();
      const fresh = Int32Array.from({ length: pages }, () => cache.allocate());
      cache.closeWindow(window);
      await cache.pageIn(hostPages.subarray(0, pages), fresh);
      cache.map(other, fresh);
      for (const page of fresh) cache.release(page);
      window = other;
      expect(Buffer.compare(readRows(cache, window, (position + 1) * rowBytes), before)).toBe(0);
    }
    expect(text).toBe(expected);
  });
});

function readRows(cache: KvCache, window: number, bytes: number): Uint8Array {
  const rows = new Uint8Array(bytes);
  cache.read(window, 0, rows);
  return rows;
}
