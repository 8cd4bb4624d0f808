import { requireInteger, requireObject } from "./errors.ts";

/** Sizes of a {@link StepBatch}. */
export interface StepBatchOptions {
  /** Sequences that one step can hold, ≥ 1. */
  readonly maxSequences: number;
  /** Tokens that one step can hold, all sequences together, ≥ maxSequences. */
  readonly maxTokens: number;
  /** Alternatives reported per sampled token, 0..64 (default 20). */
  readonly maxTopLogprobs?: number;
}

/**
 * One step's input and output as typed arrays, allocated once and crossing into native code once per step.
 * Entry `i` of each array belongs to sequence `i < sequences`.
 */
export class StepBatch {
  readonly maxSequences: number;
  readonly maxTokens: number;
  readonly maxTopLogprobs: number;

  /** Sequences in this step. */
  sequences = 0;
  /** Virtual address of the row of token 0. */
  readonly address: BigUint64Array;
  /** Tokens whose K and V are already there. */
  readonly past: Int32Array;
  /** Tokens to process in this step, ≥ 1. */
  readonly count: Int32Array;
  /** The sequences' tokens, one sequence after another. */
  readonly tokens: Int32Array;
  /** 1: sample a token after the sequence's last one; 0: only fill K and V. */
  readonly sample: Uint8Array;

  /** 0: greedy. */
  readonly temperature: Float32Array;
  /** 0: off. */
  readonly topK: Int32Array;
  /** 1: off. */
  readonly topP: Float32Array;
  /** 0: off. */
  readonly minP: Float32Array;
  /** The draw depends on (seed, position) alone, so that a preempted sequence continues as if it had not been. */
  readonly seed: BigUint64Array;
  /** Alternatives wanted, 0..maxTopLogprobs; −1: no log-probabilities at all. */
  readonly topLogprobs: Int32Array;

  /** Out: the sampled token, −1 where `sample` is 0. */
  readonly next: Int32Array;
  /**
   * Out: natural log-probability of `next` under the unmodified distribution (temperature 1, no truncation); NaN where
   * `topLogprobs` is −1.
   */
  readonly nextLogprob: Float32Array;
  /** Out: [maxSequences][maxTopLogprobs], most probable first. */
  readonly topToken: Int32Array;
  /** Out: [maxSequences][maxTopLogprobs]. */
  readonly topLogprob: Float32Array;

  /** @throws RunnerError KVPAGE_INVALID_ARGUMENT */
  constructor(options: StepBatchOptions) {
    const { maxSequences, maxTokens, maxTopLogprobs = 20 } = requireObject("options", options);
    requireInteger("maxSequences", maxSequences, 1, 2 ** 20);
    requireInteger("maxTokens", maxTokens, maxSequences, 2 ** 24);
    requireInteger("maxTopLogprobs", maxTopLogprobs, 0, 64);
    this.maxSequences = maxSequences;
    this.maxTokens = maxTokens;
    this.maxTopLogprobs = maxTopLogprobs;
    this.address = new BigUint64Array(maxSequences);
    this.past = new Int32Array(maxSequences);
    this.count = new Int32Array(maxSequences);
    this.tokens = new Int32Array(maxTokens);
    this.sample = new Uint8Array(maxSequences);
    this.temperature = new Float32Array(maxSequences);
    this.topK = new Int32Array(maxSequences);
    this.topP = new Float32Array(maxSequences).fill(1);
    this.minP = new Float32Array(maxSequences);
    this.seed = new BigUint64Array(maxSequences);
    this.topLogprobs = new Int32Array(maxSequences).fill(-1);
    this.next = new Int32Array(maxSequences);
    this.nextLogprob = new Float32Array(maxSequences);
    this.topToken = new Int32Array(maxSequences * maxTopLogprobs);
    this.topLogprob = new Float32Array(maxSequences * maxTopLogprobs);
  }
}
