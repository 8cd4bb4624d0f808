import type { StepBatch } from "@kvpage/runner";
import type { StepModel } from "../src/ports.ts";
import { random } from "./random.ts";
import type { SimulatedMemory } from "./simulated-memory.ts";

const VOCABULARY = 1000;
const END = 0;
const ROW_BYTES = 64;

/**
 * A model whose row for a token depends on the row before it, and whose next token is a hash of every byte of
 * K and V that it reads back: a lost, stale or misplaced page changes the answer.
 */
export class SimulatedModel implements StepModel {
  readonly info = { vocabulary: VOCABULARY };
  readonly kvLayout = { rowBytes: ROW_BYTES };
  /** Largest number of sequences seen in one step. */
  widestStep = 0;
  readonly #memory: SimulatedMemory;
  readonly #stepFailure: number;
  readonly #random: () => number;

  constructor(memory: SimulatedMemory, seed: number, stepFailure = 0) {
    this.#memory = memory;
    this.#random = random(seed);
    this.#stepFailure = stepFailure;
  }

  setKvRegion(): void {}

  isEndOfGeneration(token: number): boolean {
    return token === END;
  }

  async step(batch: StepBatch): Promise<void> {
    this.widestStep = Math.max(this.widestStep, batch.sequences);
    const ticks = Math.floor(this.#random() * 6);
    for (let i = 0; i < ticks; i++) await Promise.resolve();
    if (this.#random() < this.#stepFailure) throw new Error("simulated: the step failed");
    let offset = 0;
    for (let i = 0; i < batch.sequences; i++) {
      const at = (row: number) => this.#memory.row(batch.address[i]!, row, ROW_BYTES);
      const past = batch.past[i]!;
      const count = batch.count[i]!;
      for (let t = 0; t < count; t++) {
        const position = past + t;
        writeRow(at(position), position === 0 ? undefined : at(position - 1), batch.tokens[offset + t]!);
      }
      offset += count;
      batch.next[i] = -1;
      if (batch.sample[i] === 1) batch.next[i] = nextToken(at, past + count, batch.seed[i]!);
    }
  }
}

/** What the model answers, computed without an engine or a memory. */
export function expectedTokens(prompt: Int32Array, maxTokens: number, seed: bigint): number[] {
  const rows: Uint8Array[] = [];
  const push = (token: number) => {
    const row = new Uint8Array(ROW_BYTES);
    writeRow(row, rows.at(-1), token);
    rows.push(row);
  };
  prompt.forEach(push);
  const tokens: number[] = [];
  while (tokens.length < maxTokens) {
    const token = nextToken((i) => rows[i]!, rows.length, seed);
    if (token === END) break;
    tokens.push(token);
    push(token);
  }
  return tokens;
}

function writeRow(row: Uint8Array, previous: Uint8Array | undefined, token: number): void {
  const next = random(hash(previous ?? new Uint8Array(0), token + 1));
  for (let i = 0; i < row.length; i++) row[i] = next() * 256;
}

function nextToken(at: (row: number) => Uint8Array, rows: number, seed: bigint): number {
  let h = Number(seed & 0xffffffffn);
  for (let i = 0; i < rows; i++) h = hash(at(i), h);
  return h % VOCABULARY;
}

/** FNV-1a over the bytes, from `start`. */
function hash(bytes: Uint8Array, start: number): number {
  let h = (0x811c9dc5 ^ start) >>> 0;
  for (const byte of bytes) h = Math.imul(h ^ byte, 0x01000193) >>> 0;
  return h;
}
