import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { generateModel, Model, StepBatch } from "@kvpage/runner";
import { KvCache } from "@kvpage/vattention";

/** A small random model with all of its K/V memory mapped: any row of any window may be touched. */
export class Setup implements AsyncDisposable {
  readonly windows = 4;
  readonly rowsPerWindow = 128;
  readonly folder: string;
  readonly model: Model;
  readonly cache: KvCache;
  readonly vocabulary: number;

  static async create(options: { threads?: number; layers?: number } = {}): Promise<Setup> {
    const folder = mkdtempSync(join(tmpdir(), "kvpage-steps-"));
    const path = join(folder, "model.gguf");
    await generateModel(path, { weights: "F16", layers: options.layers ?? 2, vocabulary: 512 });
    return new Setup(folder, await Model.load({ path, threads: options.threads ?? 1 }));
  }

  private constructor(folder: string, model: Model) {
    this.folder = folder;
    this.model = model;
    this.vocabulary = model.info.vocabulary;
    const windowPages = 2;
    this.cache = new KvCache({
      pageBytes: (this.rowsPerWindow / windowPages) * model.kvLayout.rowBytes,
      pages: this.windows * windowPages,
      windows: this.windows,
      windowPages,
    });
    for (let i = 0; i < this.windows; i++) this.cache.grow(this.cache.openWindow(), windowPages);
    model.setKvRegion(this.cache.baseAddress, this.cache.reservedBytes);
  }

  batch(sequences: readonly SequenceInput[], maxTokens = 256): StepBatch {
    const batch = new StepBatch({ maxSequences: Math.max(1, sequences.length), maxTokens });
    let at = 0;
    for (const [i, s] of sequences.entries()) {
      batch.address[i] = this.cache.windowAddress(s.window);
      batch.past[i] = s.past ?? 0;
      batch.count[i] = s.tokens.length;
      batch.tokens.set(s.tokens, at);
      batch.sample[i] = s.sample ?? 1;
      batch.temperature[i] = s.temperature ?? 0;
      batch.topK[i] = s.topK ?? 0;
      batch.topP[i] = s.topP ?? 1;
      batch.minP[i] = s.minP ?? 0;
      batch.seed[i] = s.seed ?? 0n;
      batch.topLogprobs[i] = s.topLogprobs ?? -1;
      at += s.tokens.length;
    }
    batch.sequences = sequences.length;
    return batch;
  }

  /** `count` tokens after the prompt, alone in each step. */
  async generate(input: SequenceInput, count: number): Promise<number[]> {
    const out: number[] = [];
    let { past = 0, tokens } = input;
    while (out.length < count) {
      const batch = this.batch([{ ...input, past, tokens }]);
      await this.model.step(batch);
      past += tokens.length;
      tokens = [batch.next[0]!];
      out.push(batch.next[0]!);
    }
    return out;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.model.dispose();
    this.cache.dispose();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export interface SequenceInput {
  readonly window: number;
  readonly past?: number;
  readonly tokens: readonly number[];
  readonly sample?: 0 | 1;
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly seed?: bigint;
  readonly topLogprobs?: number;
}
