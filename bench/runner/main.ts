// Tokens per second of the runner, fast and deterministic, beside llama.cpp's own benchmarks on the same file with
// the same threads, in alternating rounds.
//   npm run bench -- runner [--rounds 5] [--threads 2] [--json]
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { availableParallelism, homedir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { generateModel, Model, StepBatch } from "@kvpage/runner";
import { KvCache } from "@kvpage/vattention";
import { llamaTool } from "../support/llama.ts";
import { machine } from "../support/machine.ts";
import { median, spread } from "../support/statistics.ts";

const { values: flags } = parseArgs({
  args: process.argv.slice(2).filter((arg) => arg !== "--"),
  options: {
    rounds: { type: "string", default: "5" },
    threads: { type: "string", default: String(availableParallelism()) },
    json: { type: "boolean", default: false },
  },
});
const rounds = Number(flags.rounds);
const threads = Number(flags.threads);

const PREFILL = 512;
const DEPTH = 2048;
const DECODE = 64;
const BATCH = 8;
const BATCH_PROMPT = 128;
const BATCH_DECODE = 32;

const folder = join(process.env["KVPAGE_CACHE"] ?? join(homedir(), ".cache/kvpage"), "bench");
const modelPath = join(folder, "random-506M-Q8_0.gguf");
if (!existsSync(modelPath)) {
  mkdirSync(folder, { recursive: true });
  await generateModel(modelPath, {
    name: "random 506M",
    weights: "Q8_0",
    layers: 28,
    embedding: 1024,
    heads: 8,
    kvHeads: 4,
    headDim: 128,
    feedForward: 4096,
    vocabulary: 32000,
    context: 8192,
  });
}

class Ours {
  readonly #model: Model;
  readonly #cache: KvCache;
  readonly #batch = new StepBatch({ maxSequences: BATCH, maxTokens: BATCH * PREFILL });
  readonly #windows: number[];

  static async load(fast: boolean): Promise<Ours> {
    return new Ours(await Model.load({ path: modelPath, threads, fast }));
  }

  constructor(model: Model) {
    this.#model = model;
    const pageBytes = 16 * model.kvLayout.rowBytes;
    const pages = (tokens: number) => Math.ceil(tokens / 16);
    const deep = pages(DEPTH + PREFILL);
    const shallow = pages(BATCH_PROMPT + BATCH_DECODE);
    this.#cache = new KvCache({
      pageBytes,
      pages: deep + (BATCH - 1) * shallow,
      windows: BATCH,
      windowPages: deep,
    });
    model.setKvRegion(this.#cache.baseAddress, this.#cache.reservedBytes);
    this.#windows = Array.from({ length: BATCH }, () => this.#cache.openWindow());
    this.#windows.forEach((window, i) => this.#cache.grow(window, i === 0 ? deep : shallow));
  }

  async #step(sequences: number, past: number, count: number): Promise<void> {
    const batch = this.#batch;
    batch.sequences = sequences;
    for (let i = 0; i < sequences; i++) {
      batch.address[i] = this.#cache.windowAddress(this.#windows[i]!);
      batch.past[i] = past;
      batch.count[i] = count;
      batch.sample[i] = 1;
    }
    for (let i = 0; i < sequences * count; i++) batch.tokens[i] = (i * 7919 + past) % 32000;
    await this.#model.step(batch);
  }

  /** Tokens per second of processing a prompt. */
  async prefill(depth: number): Promise<number> {
    if (depth > 0) await this.#step(1, 0, depth);
    const started = performance.now();
    await this.#step(1, depth, PREFILL);
    return (1000 * PREFILL) / (performance.now() - started);
  }

  /** Tokens per second of generating, all sequences together. */
  async decode(sequences: number, from: number, tokens: number): Promise<number> {
    if (from > 0) await this.#step(sequences, 0, from);
    const started = performance.now();
    for (let i = 0; i < tokens; i++) await this.#step(sequences, from + i, 1);
    return (1000 * sequences * tokens) / (performance.now() - started);
  }
}

function llamaBench(kind: "prefill" | "decode", depth = 0): number {
  const tokens = kind === "prefill" ? ["-p", String(PREFILL), "-n", "0"] : ["-p", "0", "-n", String(DECODE)];
  const size = [...tokens, "-d", String(depth)];
  const args = ["-m", modelPath, "-t", String(threads), "-fa", "1", "-r", "1", "-o", "json", ...size];
  const out = execFileSync(llamaTool("llama-bench"), args, {
    stdio: ["ignore", "pipe", "ignore"],
    encoding: "utf8",
  });
  return (JSON.parse(out) as [{ avg_ts: number }])[0].avg_ts;
}

function llamaBatchedBench(): number {
  const sizes = [
    "-npp",
    String(BATCH_PROMPT),
    "-ntg",
    String(BATCH_DECODE),
    "-npl",
    String(BATCH),
    "-c",
    "2048",
  ];
  const args = ["-m", modelPath, "-t", String(threads), "-fa", "on", "--output-format", "jsonl", ...sizes];
  const stdio: ["ignore", "pipe", "ignore"] = ["ignore", "pipe", "ignore"];
  const out = execFileSync(llamaTool("llama-batched-bench"), args, { stdio, encoding: "utf8" });
  const line = out.split("\n").find((text) => text.startsWith("{"));
  if (line === undefined) throw new Error(`llama-batched-bench printed no result:\n${out}`);
  return (JSON.parse(line) as { speed_tg: number }).speed_tg;
}

const fast = await Ours.load(true);
const deterministic = await Ours.load(false);
const cases = [
  {
    name: `prefill ${PREFILL}`,
    rival: "llama-bench",
    target: 0.95,
    ours: (runner: Ours) => runner.prefill(0),
    theirs: () => llamaBench("prefill"),
  },
  {
    name: `prefill ${PREFILL} at depth ${DEPTH}`,
    rival: "llama-bench",
    target: 0.95,
    ours: (runner: Ours) => runner.prefill(DEPTH),
    theirs: () => llamaBench("prefill", DEPTH),
  },
  {
    name: `decode ${DECODE}, 1 sequence`,
    rival: "llama-bench",
    target: 0.95,
    ours: (runner: Ours) => runner.decode(1, 0, DECODE),
    theirs: () => llamaBench("decode"),
  },
  {
    name: `decode ${BATCH_DECODE}, ${BATCH} sequences at ${BATCH_PROMPT}`,
    rival: "llama-batched-bench",
    target: 1,
    ours: (runner: Ours) => runner.decode(BATCH, BATCH_PROMPT, BATCH_DECODE),
    theirs: llamaBatchedBench,
  },
];

if (!flags.json) {
  console.log(`runner: tokens/s, median (range) of ${rounds} alternating rounds, ${threads} threads`);
  console.log(`model: random 506M Q8_0, F16 K/V · machine: ${machine()}`);
}
for (const { name, rival, target, ours, theirs } of cases) {
  const results = { fast: [] as number[], deterministic: [] as number[], theirs: [] as number[] };
  await ours(fast); // warm the caches and the page tables
  await ours(deterministic);
  for (let round = 0; round < rounds; round++) {
    results.theirs.push(theirs());
    results.fast.push(await ours(fast));
    results.deterministic.push(await ours(deterministic));
  }
  const ratio = (values: readonly number[]) => median(values) / median(results.theirs);
  if (flags.json) {
    console.log(
      JSON.stringify({ benchmark: "runner", case: name, rival, threads, ...results, machine: machine() }),
    );
    continue;
  }
  console.log(`\n${name}`);
  const row = (label: string, values: number[], note: string) =>
    console.log(`  ${label.padEnd(22)}${spread(values).padStart(24)}  ${note}`);
  row(rival, results.theirs, "");
  row("kvpage --fast", results.fast, `${ratio(results.fast).toFixed(3)} × (aim ${target})`);
  row("kvpage deterministic", results.deterministic, `${ratio(results.deterministic).toFixed(3)} ×`);
}
process.exit(0);
