/** How the next token is drawn; the defaults are greedy. */
export interface Sampling {
  /** ≥ 0; 0 is greedy. */
  readonly temperature?: number;
  /** ≥ 0; 0 is off. */
  readonly topK?: number;
  /** 0 < p ≤ 1; 1 is off. */
  readonly topP?: number;
  /** 0 ≤ p < 1; 0 is off. */
  readonly minP?: number;
  /** 64-bit seed. The draw at a position depends on the seed and the position alone. */
  readonly seed?: bigint;
}

export interface TopLogprob {
  readonly token: number;
  /** Natural logarithm, under the model's unmodified distribution. */
  readonly logprob: number;
}

/** One generated token. */
export interface GeneratedToken extends TopLogprob {
  /** The `topLogprobs` most probable tokens, most probable first. */
  readonly top: readonly TopLogprob[];
}

export interface GenerationRequest {
  /** The whole conversation so far as token ids; at least one. */
  readonly prompt: Int32Array;
  /** Tokens to generate at most, ≥ 1. */
  readonly maxTokens: number;
  readonly sampling?: Sampling;
  /**
   * Names the conversation whose pages stay after the turn. Without it, an idle unnamed conversation whose
   * tokens begin the prompt is continued.
   */
  readonly session?: string;
  /** What the caller knows of the conversation's future: overrides the predictor's bit. */
  readonly reuse?: "likely" | "unlikely";
  /** Log-probabilities: unset = none, 0 = of the chosen token, n = also of the n most probable (≤ 20). */
  readonly topLogprobs?: number;
  /** Continue past the model's end-of-generation tokens (default false). */
  readonly ignoreEndOfGeneration?: boolean;
  readonly signal?: AbortSignal;
  /**
   * Called once per generated token, in order; returning true ends the generation after this token (a stop
   * string was met). Not called for an end-of-generation token.
   */
  readonly onToken?: (token: GeneratedToken) => boolean | undefined;
}

export interface GenerationResult {
  /** `stop`: end of generation or `onToken` returned true; `length`: `maxTokens` were generated. */
  readonly finishReason: "stop" | "length";
  /** Generated tokens, without an end-of-generation token. */
  readonly tokens: Int32Array;
  readonly promptTokens: number;
  /** Prompt tokens whose K and V were kept from earlier turns (on any tier) and not computed again. */
  readonly cachedTokens: number;
  /** Pages that had to come back from the host tier before the turn could start. */
  readonly pagesIn: number;
  /** Times that this request was preempted. */
  readonly preemptions: number;
  /** Milliseconds from the call to admission. */
  readonly queueMs: number;
  /** Milliseconds from the call to the first token. */
  readonly firstTokenMs: number;
  /** Milliseconds from the call to the end. */
  readonly totalMs: number;
}
