import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { convertLlama2c, generateModel, type GenerateModelOptions } from "./model-files.ts";

const folder = mkdtempSync(join(tmpdir(), "kvpage-model-files-"));
afterAll(() => rmSync(folder, { recursive: true }));

const small: GenerateModelOptions = { layers: 1, embedding: 32, headDim: 32, feedForward: 32 };

it("writes the same bytes for the same options, also at once", async () => {
  const paths = ["a", "b", "c"].map((name) => join(folder, `${name}.gguf`));
  await Promise.all(paths.map((path, i) => generateModel(path, { ...small, seed: i === 2 ? 2 : 1 })));
  const [a, b, c] = paths.map((path) => readFileSync(path));
  expect(a!.equals(b!)).toBe(true);
  expect(a!.equals(c!)).toBe(false);
  await Promise.all(Array.from({ length: 4 }, () => generateModel(paths[0]!, small)));
  expect(readFileSync(paths[0]!).equals(b!)).toBe(true);
  expect(readdirSync(folder).length).toBe(3);
});

it.each([
  ["weights", { weights: "F64" }],
  ["weights", { weights: 3 }],
  ["architecture", { architecture: "gpt2" }],
  ["heads", { heads: 1.5 }],
  ["kvHeads", { heads: 4, kvHeads: 3 }],
  ["vocabulary", { vocabulary: 10 }],
  ["embedding", { weights: "Q8_0", embedding: 33 }],
  ["seed", { seed: -1 }],
  ["options", null],
])("refuses a wrong %s: %j", async (field, options) => {
  await expect(generateModel(join(folder, "x.gguf"), options as GenerateModelOptions)).rejects.toMatchObject({
    code: "KVPAGE_INVALID_ARGUMENT",
    message: expect.stringContaining(field),
  });
});

it("says why a file cannot be written or read", async () => {
  await expect(generateModel(join(folder, "no/x.gguf"), small)).rejects.toMatchObject({
    code: "KVPAGE_WRITE_FAILED",
  });
  await expect(convertLlama2c("/no", "/no", join(folder, "x.gguf"))).rejects.toMatchObject({
    code: "KVPAGE_MODEL_NOT_FOUND",
  });
  const junk = join(folder, "junk");
  writeFileSync(junk, "not a checkpoint, but more than twenty-eight bytes");
  await expect(convertLlama2c(junk, junk, join(folder, "x.gguf"))).rejects.toMatchObject({
    code: "KVPAGE_INVALID_ARGUMENT",
  });
  await expect(generateModel("")).rejects.toMatchObject({ code: "KVPAGE_INVALID_ARGUMENT" });
});
