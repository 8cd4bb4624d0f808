import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { StepBatch } from "./batch.ts";
import { generateModel } from "./model-files.ts";
import { Model, type ModelOptions } from "./model.ts";
import { TextStream } from "./text-stream.ts";

const folder = mkdtempSync(join(tmpdir(), "kvpage-model-"));
const path = join(folder, "small.gguf");
beforeAll(() => generateModel(path, { name: "small", weights: "Q8_0", layers: 2 }));
afterAll(() => rmSync(folder, { recursive: true }));

describe("loading", () => {
  it("tells what the file says and how K and V stand in memory", async () => {
    await using model = await Model.load({ path, threads: 1 });
    expect(model.info).toEqual({
      architecture: "llama",
      name: "small",
      weights: "Q8_0",
      layers: 2,
      embedding: 256,
      heads: 4,
      kvHeads: 2,
      headDim: 64,
      vocabulary: 512,
      context: 2048,
      parameters: expect.any(Number) as number,
      fileBytes: readFileSync(path).length,
    });
    expect(model.kvLayout).toEqual({ tokenBytes: 1024, rowBytes: 1024 });
    expect([model.bosToken, model.eosToken]).toEqual([1, 2]);
  });

  it("reports progress up to 1, and gives what the reporter throws", async () => {
    const seen: number[] = [];
    await using model = await Model.load({ path, threads: 1, onProgress: (fraction) => seen.push(fraction) });
    expect(seen.at(-1)).toBe(1);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(model.info.layers).toBe(2);
    const onProgress = () => {
      throw new Error("the reporter's own");
    };
    await expect(Model.load({ path, onProgress })).rejects.toThrow("the reporter's own");
  });

  it.each([
    [{}, "path"],
    [{ path: "" }, "path"],
    [{ path, threads: 0 }, "threads"],
    [{ path, threads: 1.5 }, "threads"],
    [{ path, fast: 1 }, "fast"],
    [{ path, kvType: "f8" }, "kvType"],
    [{ path, onProgress: 3 }, "onProgress"],
    [undefined, "options"],
  ])("refuses %j", async (options, field) => {
    await expect(Model.load(options as unknown as ModelOptions)).rejects.toMatchObject({
      name: "RunnerError",
      code: "KVPAGE_INVALID_ARGUMENT",
      message: expect.stringContaining(`${field} is`),
    });
  });

  it("refuses files that are no models", async () => {
    const broken = join(folder, "broken.gguf");
    await expect(Model.load({ path: join(folder, "none.gguf") })).rejects.toMatchObject({
      code: "KVPAGE_MODEL_NOT_FOUND",
    });
    writeFileSync(broken, "GGUF, or so it says in the beginning");
    await expect(Model.load({ path: broken })).rejects.toMatchObject({ code: "KVPAGE_MODEL_INVALID" });
    writeFileSync(broken, readFileSync(path));
    truncateSync(broken, 100_000);
    await expect(Model.load({ path: broken })).rejects.toMatchObject({ code: "KVPAGE_MODEL_INVALID" });
  });
});

describe("text", () => {
  let model: Model;
  beforeAll(async () => (model = await Model.load({ path, threads: 1 })));
  afterAll(() => model.dispose());

  it("comes back from its tokens", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        fc.pre(!text.includes("▁")); // stands for a space in such vocabularies
        const stream = new TextStream(model, model.bosToken);
        const tokens = model.tokenize(text).subarray(1);
        expect([...tokens].map((token) => stream.push(token)).join("") + stream.flush()).toBe(text);
      }),
    );
  });

  it("is never read as a control token unless asked", () => {
    fc.assert(
      fc.property(fc.string(), fc.constantFrom("<s>", "</s>", "<|user|>"), (text, control) => {
        const tokens = model.tokenize(text + control + text, { addSpecial: false });
        expect([...tokens].some((token) => model.isControl(token))).toBe(false);
      }),
    );
    expect([...model.tokenize("<s></s>", { addSpecial: false, parseSpecial: true })]).toEqual([1, 2]);
  });

  it("a conversation begins with BOS exactly once", () => {
    const text = model.applyChatTemplate([{ role: "user", content: "baba" }]);
    expect(text).toBe("<s><|user|>baba</s><|assistant|>");
    const tokens = [...model.tokenizeChat(text)];
    expect(tokens.filter((token) => token === model.bosToken)).toEqual([1]);
    expect(tokens[0]).toBe(1);
    expect([...model.tokenizeChat(text.slice("<s>".length))]).toEqual(tokens);
    expect(model.tokenizeChat("ba".repeat(200_000)).length).toBeGreaterThan(100_000);
    expect(model.applyChatTemplate([], { addGenerationPrompt: false })).toBe("<s>");
  });

  it("tokens have bytes and kinds", () => {
    expect(model.tokenBytes(model.bosToken)).toEqual(new Uint8Array());
    expect(model.isControl(model.bosToken)).toBe(true);
    expect(model.isEndOfGeneration(model.eosToken)).toBe(true);
    expect(model.isEndOfGeneration(model.bosToken)).toBe(false);
    const [token] = model.tokenize("baba", { addSpecial: false }).subarray(-1);
    expect(new TextDecoder().decode(model.tokenBytes(token!))).toMatch(/^[ \w]+$/);
    expect(() => model.tokenBytes(512)).toThrow(/token is 512; expected an integer of 0\.\.511/);
  });
});

describe("disposal", () => {
  it("is idempotent; afterwards everything throws a typed error", async () => {
    const model = await Model.load({ path, threads: 1 });
    await Promise.all([model.dispose(), model.dispose(), model[Symbol.asyncDispose]()]);
    const disposed = expect.objectContaining({ name: "RunnerError", code: "KVPAGE_DISPOSED" });
    expect(() => model.tokenize("x")).toThrow(disposed);
    expect(() => model.tokenBytes(1)).toThrow(disposed);
    expect(() => model.isControl(1)).toThrow(disposed);
    expect(() => model.isEndOfGeneration(1)).toThrow(disposed);
    expect(() => model.applyChatTemplate([])).toThrow(disposed);
    expect(() => model.setKvRegion(64n, 1 << 20)).toThrow(disposed);
    const batch = new StepBatch({ maxSequences: 1, maxTokens: 1 });
    await expect(model.step(batch)).rejects.toEqual(disposed);
    expect(model.info.layers).toBe(2); // what was copied stays
  });
});
