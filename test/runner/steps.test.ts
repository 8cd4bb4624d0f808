import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Model, type StepBatch } from "@kvpage/runner";
import { Setup } from "./setup.ts";

let setup: Setup;
beforeAll(async () => void (setup = await Setup.create()));
afterAll(() => setup[Symbol.asyncDispose]());

const prompt = [1, 300, 301, 302, 303];

/** Gives the arrays' memory away: their length is 0 then. */
function transfer(...arrays: readonly ArrayBufferView[]): void {
  structuredClone(null, { transfer: arrays.map((array) => array.buffer as ArrayBuffer) });
}

describe("sampling", () => {
  it("gives the token that the raw logits say, with its log-probability and the alternatives", async () => {
    const logits = new Float32Array(2 * setup.vocabulary);
    const batch = setup.batch([
      { window: 0, tokens: prompt, topLogprobs: 5 },
      { window: 1, tokens: [1, 7], sample: 0 },
      { window: 2, tokens: [1, 400], temperature: 1.3, topK: 50, seed: 9n, topLogprobs: 0 },
    ]);
    await setup.model.step(batch, logits);
    expect(batch.next[1]).toBe(-1);
    const [first, second] = [0, 1].map((row) => {
      const own = logits.subarray(row * setup.vocabulary, (row + 1) * setup.vocabulary);
      const greatest = Math.max(...own);
      const normaliser = greatest + Math.log(own.reduce((sum, x) => sum + Math.exp(x - greatest), 0));
      return {
        order: [...own.keys()].toSorted((a, b) => own[b]! - own[a]! || a - b),
        logprob: (token: number) => own[token]! - normaliser,
      };
    });
    expect(batch.next[0]).toBe(first!.order[0]);
    expect(batch.nextLogprob[0]).toBeCloseTo(first!.logprob(batch.next[0]!), 4);
    expect([...batch.topToken.subarray(0, 5)]).toEqual(first!.order.slice(0, 5));
    for (let k = 0; k < 5; k++) expect(batch.topLogprob[k]).toBeCloseTo(first!.logprob(first!.order[k]!), 4);
    expect(second!.order.slice(0, 50)).toContain(batch.next[2]);
    expect(batch.nextLogprob[2]).toBeCloseTo(second!.logprob(batch.next[2]!), 4);
    expect(batch.topToken[5]).toBe(-1);
  });

  it("depends on the seed and the position, not on the company or the chunks", async () => {
    const sampling = { temperature: 1, topP: 0.95, minP: 0.01, seed: 1234n };
    const alone = await setup.generate({ window: 0, tokens: prompt, ...sampling }, 20);
    expect(await setup.generate({ window: 3, tokens: prompt, ...sampling }, 20)).toEqual(alone);
    expect(await setup.generate({ window: 0, tokens: prompt, ...sampling, seed: 5n }, 20)).not.toEqual(alone);

    // The same again, the prompt in chunks, with a neighbour in each step.
    const all = [...prompt, ...alone];
    let past = 0;
    const seen: number[] = [];
    for (const count of [2, 1, 2, ...Array.from({ length: 19 }, () => 1)]) {
      const last = past + count >= prompt.length;
      const batch = setup.batch([
        { window: 1, tokens: [1, 2 + past], temperature: 2, seed: 77n },
        { window: 2, past, tokens: all.slice(past, past + count), sample: last ? 1 : 0, ...sampling },
      ]);
      await setup.model.step(batch);
      if (last) seen.push(batch.next[1]!);
      past += count;
    }
    expect(seen).toEqual(alone);
  });
});

describe("steps under way", () => {
  it("wait their turn when many are asked for at once", async () => {
    const expected = await setup.generate({ window: 0, tokens: prompt }, 1);
    const batches = Array.from({ length: 20 }, (_, i) => setup.batch([{ window: i % 4, tokens: prompt }]));
    await Promise.all(batches.map((batch) => setup.model.step(batch)));
    for (const batch of batches) expect(batch.next[0]).toBe(expected[0]);
  });

  it("are not disturbed by changes of the batch after the call", async () => {
    const expected = await setup.generate({ window: 0, tokens: prompt }, 1);
    const batch = setup.batch([{ window: 0, tokens: prompt }]);
    const step = setup.model.step(batch);
    batch.tokens.fill(2 ** 31 - 1);
    batch.address.fill(64n);
    batch.past.fill(-5);
    batch.count.fill(1 << 30);
    batch.sequences = 0;
    transfer(batch.tokens, batch.count, batch.seed);
    await step;
    expect(batch.next[0]).toBe(expected[0]);
  });

  it("whose outputs were transferred away reject", async () => {
    const batch = setup.batch([{ window: 0, tokens: prompt }]);
    const step = setup.model.step(batch);
    transfer(batch.next);
    await expect(step).rejects.toMatchObject({
      code: "KVPAGE_INVALID_ARGUMENT",
      message: "batch.next.length is 0; expected at least 1",
    });
    const other = setup.batch([{ window: 0, tokens: prompt }]);
    const logits = new Float32Array(setup.vocabulary);
    const again = setup.model.step(other, logits);
    transfer(logits);
    await expect(again).rejects.toMatchObject({ message: expect.stringContaining("logits.length is 0") });
  });

  it("end before the model does", async () => {
    await using own = await Setup.create();
    const batches = Array.from({ length: 5 }, (_, i) => own.batch([{ window: i % 4, tokens: prompt }]));
    const steps = batches.map((batch) => own.model.step(batch));
    const disposed = own.model.dispose();
    await expect(own.model.step(batches[0]!)).rejects.toMatchObject({ code: "KVPAGE_DISPOSED" });
    await disposed;
    expect((await Promise.allSettled(steps)).map((step) => step.status)).toEqual(
      steps.map(() => "fulfilled"),
    );
    for (const batch of batches) expect(batch.next[0]).toBeGreaterThanOrEqual(0);
    await own.model.dispose();
  });

  it("keep the region where it is", async () => {
    const step = setup.model.step(setup.batch([{ window: 0, tokens: prompt }]));
    expect(() => setup.model.setKvRegion(64n, 1 << 20)).toThrow(/no step under way/);
    await step;
  });
});

describe("what a batch says is checked before anything is computed", () => {
  const good = () =>
    setup.batch([
      { window: 0, tokens: prompt },
      { window: 1, tokens: [5], topLogprobs: 2 },
    ]);
  it.each<[string, (batch: StepBatch) => unknown]>([
    ["batch.sequences is 0", (b) => (b.sequences = 0)],
    ["batch.sequences is 1.5", (b) => (b.sequences = 1.5)],
    ["batch.sequences is nan", (b) => (b.sequences = NaN)],
    ["batch.address.length is 2; expected at least 3", (b) => (b.sequences = 3)],
    ["batch.past[1] is -1", (b) => (b.past[1] = -1)],
    ["batch.count[1] is 0", (b) => (b.count[1] = 0)],
    ["batch.tokens.length is 256; expected at least 257", (b) => (b.count[1] = 252)],
    ["batch.temperature[1] is nan", (b) => (b.temperature[1] = NaN)],
    ["batch.temperature[0] is -1", (b) => (b.temperature[0] = -1)],
    ["batch.temperature[0] is inf", (b) => (b.temperature[0] = Infinity)],
    ["batch.topK[0] is -1", (b) => (b.topK[0] = -1)],
    ["batch.topP[0] is 1.5", (b) => (b.topP[0] = 1.5)],
    ["batch.minP[0] is nan", (b) => (b.minP[0] = NaN)],
    ["batch.topLogprobs[1] is 21", (b) => (b.topLogprobs[1] = 21)],
    ["sequence 0: token is 512; expected 0..511", (b) => (b.tokens[2] = 512)],
    ["sequence 1: token is -1", (b) => (b.tokens[5] = -1)],
    ["sequence 1: address is 0", (b) => (b.address[1] = 0n)],
    ["sequence 0: address is", (b) => (b.address[0]! += 1n)],
    ["sequence 1: its 513 rows end beyond the region", (b) => (b.past[1] = 512)],
    ["batch.past is something else", (b) => Object.assign(b, { past: new Float32Array(2) })],
    ["batch.tokens is something else", (b) => Object.assign(b, { tokens: [1, 2, 3] })],
    ["batch.seed.length is 1", (b) => Object.assign(b, { seed: new BigUint64Array(1) })],
  ])("%s", async (message, spoil) => {
    const batch = good();
    spoil(batch);
    await expect(setup.model.step(batch)).rejects.toMatchObject({
      name: "RunnerError",
      code: "KVPAGE_INVALID_ARGUMENT",
      message: expect.stringContaining(message),
    });
    await setup.model.step(good());
  });

  it("and so is where the logits are to go", async () => {
    const message = "logits.length is 1023; expected at least 1024";
    await expect(setup.model.step(good(), new Float32Array(1023))).rejects.toThrow(message);
    const floats = new Float64Array(2000) as unknown as Float32Array;
    await expect(setup.model.step(good(), floats)).rejects.toThrow("expected a Float32Array");
    await expect(setup.model.step({} as StepBatch)).rejects.toThrow("expected a StepBatch");
  });

  it("a model without a region says so", async () => {
    await using own = await Setup.create();
    await using model = await Model.load({ path: `${own.folder}/model.gguf`, threads: 1 });
    await expect(model.step(own.batch([{ window: 0, tokens: prompt }]))).rejects.toMatchObject({
      code: "KVPAGE_INVALID_ARGUMENT",
    });
  });
});
