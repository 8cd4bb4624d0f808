// A program that calls everything with anything; misuse.test.ts runs it. Only typed errors may come of it. Prints its
// seed, and how many calls were refused and went through.
import { strict as assert } from "node:assert";
import { convertLlama2c, generateModel, Model, RunnerError, StepBatch, TextStream } from "@kvpage/runner";
import { seededRandom } from "./random.ts";
import { Setup } from "./setup.ts";

const seed = Number(process.argv[2] ?? Date.now() % 1e6);
const rounds = Number(process.argv[3] ?? 3000);

const random = seededRandom(seed);

function detached(): Int32Array {
  const array = new Int32Array(8);
  structuredClone(null, { transfer: [array.buffer] });
  return array;
}

const anything: (() => unknown)[] = [
  () => undefined,
  () => null,
  () => NaN,
  () => -1,
  () => 0,
  () => 1,
  () => 0.5,
  () => 511,
  () => 512,
  () => 2 ** 31,
  () => 2 ** 53,
  () => Infinity,
  () => 1n,
  () => -1n,
  () => 1n << 64n,
  () => true,
  () => "",
  () => "x",
  () => "\0",
  () => "\ud800",
  () => "long ".repeat(2000),
  () => Symbol("s"),
  () => () => 1,
  () => ({}),
  () => [],
  () => Object.create(null) as unknown,
  () => new Int32Array(2),
  () => new Float32Array(1024),
  () => new BigUint64Array(300),
  () => new SharedArrayBuffer(8),
  () => detached(),
  () => new Proxy({}, { get: () => 7 }),
  () => Object.create(StepBatch.prototype) as unknown,
];
const any = (): never => anything[random(anything.length)]!() as never;

await using setup = await Setup.create();
const { model } = setup;

let refused = 0;
let accepted = 0;

async function attempt(what: string, call: () => unknown): Promise<void> {
  try {
    await call();
    accepted++;
  } catch (error) {
    assert.ok(error instanceof RunnerError, `seed ${seed}: ${what}: ${String(error)}`);
    assert.match(error.code, /^KVPAGE_/);
    refused++;
  }
}

type Entries = Int32Array | Uint8Array | Float32Array;

/** Writes any value into any entry of the batch's arrays; they are given, since the batch may have lost them. */
function spoilEntries(
  integers: readonly Entries[],
  floats: readonly Entries[],
  address: BigUint64Array,
): void {
  const numbers = [0, 1, -1, 5, 511, 512, 2 ** 31 - 1, -(2 ** 31), NaN, Infinity, -0.5, 1e-40];
  for (let changes = random(3); changes >= 0; changes--) {
    const value = numbers[random(numbers.length)]!;
    const i = random(3);
    if (random(4) === 0) address[i] = setup.cache.baseAddress + BigInt(random(1 << 20));
    else if (random(2) === 0) floats[random(floats.length)]![i] = value;
    else integers[random(integers.length)]![i] = value;
  }
}

const calls: [string, () => unknown][] = [
  [
    "tokenize",
    () => model.tokenize(any(), random(2) === 0 ? any() : { addSpecial: any(), parseSpecial: any() }),
  ],
  ["tokenizeChat", () => model.tokenizeChat(any())],
  ["tokenBytes", () => model.tokenBytes(any())],
  ["isControl", () => model.isControl(any())],
  ["isEndOfGeneration", () => model.isEndOfGeneration(any())],
  ["applyChatTemplate", () => model.applyChatTemplate(any(), any())],
  ["applyChatTemplate", () => model.applyChatTemplate([{ role: any(), content: any() }])],
  ["load", () => Model.load(any())],
  ["load", () => Model.load({ path: any(), threads: any(), kvType: any(), fast: any() })],
  ["generateModel", () => generateModel(`${setup.folder}/no/x.gguf`, { layers: any(), weights: any() })],
  ["generateModel", () => generateModel(`${setup.folder}/no/x.gguf`, any())],
  ["convertLlama2c", () => convertLlama2c(any(), any(), `${setup.folder}/no/x.gguf`)],
  ["new StepBatch", () => new StepBatch(any())],
  ["new StepBatch", () => new StepBatch({ maxSequences: any(), maxTokens: random(2) === 0 ? 64 : any() })],
  ["TextStream", () => new TextStream(model, any()).push(any())],
  ["step", () => model.step(any(), any())],
];

const steps: Promise<void>[] = [];
for (let round = 0; round < rounds; round++) {
  const [name, call] = calls[random(calls.length)]!;
  await attempt(name, call);
  const batch = setup.batch([
    { window: 0, tokens: [1, 2, 3], temperature: 1, topLogprobs: 3 },
    { window: random(4), past: random(100), tokens: [7], sample: 0 },
    { window: 2, tokens: [9, 400] },
  ]);
  const integers = [batch.past, batch.count, batch.tokens, batch.topK, batch.topLogprobs, batch.sample];
  const floats = [batch.temperature, batch.topP, batch.minP];
  const { address } = batch;
  if (random(3) > 0) spoilEntries(integers, floats, address);
  if (random(4) === 0) {
    const fields = Object.keys(batch);
    Object.assign(batch, { [fields[random(fields.length)]!]: any() });
  }
  const logits = random(5) === 0 ? (any() as Float32Array) : undefined;
  steps.push(attempt("step", () => model.step(batch, logits)));
  spoilEntries(integers, floats, address); // after the call: its outcome is fixed
  if (random(10) === 0) await Promise.all(steps.splice(0));
}
await Promise.all(steps);
assert.ok(refused > rounds / 2 && accepted > rounds / 20, `refused ${refused}, accepted ${accepted}`);

const batch = setup.batch([{ window: 0, tokens: [1, 2, 3] }]);
await model.step(batch); // and it still works
assert.ok(batch.next[0]! >= 0);
console.log(`seed ${seed}: ${refused} refused, ${accepted} went through`);
