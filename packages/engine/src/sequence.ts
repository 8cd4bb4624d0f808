import { EngineError } from "./errors.ts";
import type { GenerationRequest, GenerationResult } from "./request.ts";
import type { Session } from "./session.ts";

/** A request on its way through the engine. */
export class Sequence {
  readonly request: GenerationRequest;
  /** Order of arrival: decides who is admitted first and who gives way last. */
  readonly arrival: number;
  readonly arrivedMs: number;
  readonly result: Promise<GenerationResult>;
  /** From admission to the end. */
  session: Session | undefined;
  readonly generated: number[] = [];
  aborted = false;

  admittedMs = Number.NaN;
  firstTokenMs = Number.NaN;
  cachedTokens = 0;
  pagesIn = 0;
  preemptions = 0;

  #resolve!: (result: GenerationResult) => void;
  #reject!: (error: Error) => void;

  constructor(request: GenerationRequest, arrival: number, nowMs: number) {
    this.request = request;
    this.arrival = arrival;
    this.arrivedMs = nowMs;
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** Tokens that have no K and V yet: 1 while decoding, more during prefill. */
  get pending(): number {
    return this.session!.tokens.length - this.session!.kvTokens;
  }

  finish(reason: "stop" | "length", nowMs: number): void {
    this.#resolve({
      finishReason: reason,
      tokens: Int32Array.from(this.generated),
      promptTokens: this.request.prompt.length,
      cachedTokens: this.cachedTokens,
      pagesIn: this.pagesIn,
      preemptions: this.preemptions,
      queueMs: this.admittedMs - this.arrivedMs,
      firstTokenMs: (Number.isNaN(this.firstTokenMs) ? nowMs : this.firstTokenMs) - this.arrivedMs,
      totalMs: nowMs - this.arrivedMs,
    });
  }

  fail(error: Error): void {
    this.#reject(error);
  }
}

/** @throws EngineError KVPAGE_INVALID_ARGUMENT naming the field, the value and what was expected. */
export function validateRequest(request: GenerationRequest, vocabulary: number): void {
  const { prompt, maxTokens, sampling = {}, topLogprobs } = request;
  if (!(prompt instanceof Int32Array) || prompt.length === 0) {
    throw invalid("prompt", prompt, "an Int32Array of at least one token");
  }
  for (let i = 0; i < prompt.length; i++) {
    if (prompt[i]! < 0 || prompt[i]! >= vocabulary) {
      throw invalid(`prompt[${i}]`, prompt[i], `a token id of 0..${vocabulary - 1}`);
    }
  }
  if (!Number.isSafeInteger(maxTokens) || maxTokens < 1)
    throw invalid("maxTokens", maxTokens, "an integer ≥ 1");
  const { temperature = 0, topK = 0, topP = 1, minP = 0, seed = 0n } = sampling;
  if (!(temperature >= 0 && temperature < Infinity))
    throw invalid("temperature", temperature, "a number ≥ 0");
  if (!Number.isSafeInteger(topK) || topK < 0 || topK > 0x7fffffff)
    throw invalid("topK", topK, "an integer ≥ 0");
  if (!(topP > 0 && topP <= 1)) throw invalid("topP", topP, "a number in (0, 1]");
  if (!(minP >= 0 && minP < 1)) throw invalid("minP", minP, "a number in [0, 1)");
  if (typeof seed !== "bigint") throw invalid("seed", seed, "a bigint");
  if (
    topLogprobs !== undefined &&
    !(Number.isInteger(topLogprobs) && topLogprobs >= 0 && topLogprobs <= 20)
  ) {
    throw invalid("topLogprobs", topLogprobs, "an integer of 0..20");
  }
}

function invalid(field: string, value: unknown, expected: string): EngineError {
  return new EngineError("KVPAGE_INVALID_ARGUMENT", `${field} is ${String(value)}; expected ${expected}`);
}
