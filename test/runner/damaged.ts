// A program that loads damaged model files, and uses those that still load; programs.test.ts runs it. Prints its
// seed, and how many were refused and loaded.
import { strict as assert } from "node:assert";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { generateModel, Model, RunnerError, StepBatch } from "@kvpage/runner";
import { KvCache } from "@kvpage/vattention";
import { seededRandom } from "./random.ts";

const [folder = ".", seed = "1", rounds = "300"] = process.argv.slice(2);
const random = seededRandom(Number(seed));
const path = join(folder, "damaged.gguf");

await generateModel(path, {
  weights: random(2) === 0 ? "Q8_0" : "F32",
  layers: 1,
  embedding: 64,
  heads: 2,
  kvHeads: 1,
  headDim: 32,
  feedForward: 64,
  vocabulary: 300,
});
const good = readFileSync(path);
// What describes the file: its beginning and its tensor table; damage to weights is only another model.
const pieces = {
  from: good.indexOf("tokenizer.ggml.tokens"),
  to: good.indexOf("tokenizer.ggml.bos_token_id"),
};
const described = good.indexOf("token_embd.weight") + 1200;

async function use(model: Model): Promise<void> {
  model.tokenizeChat(model.applyChatTemplate([{ role: "user", content: "Hello <s>" }]));
  using cache = new KvCache({
    pageBytes: 4096 * Math.ceil((16 * model.kvLayout.rowBytes) / 4096),
    pages: 1,
    windows: 1,
    windowPages: 1,
  });
  cache.grow(cache.openWindow(), 1);
  model.setKvRegion(cache.baseAddress, cache.reservedBytes);
  const batch = new StepBatch({ maxSequences: 1, maxTokens: 8 });
  batch.sequences = 1;
  batch.address[0] = cache.baseAddress;
  batch.tokens.set([1, 2, 3]);
  batch.count[0] = 3;
  batch.sample[0] = 1;
  await model.step(batch);
}

let refused = 0;
let loaded = 0;
for (let round = 0; round < Number(rounds); round++) {
  const content = Buffer.from(good);
  for (let changes = random(3); changes >= 0; changes--) {
    let at = random(described);
    if (at > pieces.from && at < pieces.to && random(10) > 0) at = random(pieces.from);
    content[at] = random(2) === 0 ? random(256) : [0, 1, 127, 255][random(4)]!;
  }
  writeFileSync(path, random(10) === 0 ? content.subarray(0, random(content.length)) : content);
  try {
    await using model = await Model.load({ path, threads: 1 });
    loaded++;
    await use(model);
  } catch (error) {
    assert.ok(error instanceof RunnerError, `seed ${seed}, round ${round}: ${String(error)}`);
    refused++;
  }
}
assert.ok(refused > 0 && loaded > 0);
console.log(`seed ${seed}: ${refused} refused, ${loaded} loaded`);
