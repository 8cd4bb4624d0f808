import { EngineError, type EngineStats, type GenerationRequest, type GenerationResult } from "@kvpage/engine";
import type { ServerEngine, ServerModel } from "../ports.ts";

/** A model whose tokens are the bytes of UTF-8, and whose chats are their last message. For tests. */
export const fakeModel: ServerModel = {
  info: { vocabulary: 256 },
  bosToken: -1,
  addsSpacePrefix: false,
  tokenize: (text) => Int32Array.from(new TextEncoder().encode(text)),
  tokenizeChat: (text) => Int32Array.from(new TextEncoder().encode(text)),
  tokenBytes: (token) => Uint8Array.of(token),
  applyChatTemplate: (messages) => messages.at(-1)!.content,
};

/** An engine that answers with the prompt's own tokens, one a tick, over and over until `maxTokens`. For tests. */
export class FakeEngine implements ServerEngine {
  readonly plan = {
    pageTokens: 16,
    pageBytes: 4096,
    rowBytes: 256,
    pages: 8,
    hostPages: 4,
    windows: 4,
    windowPages: 4,
  };
  readonly requests: GenerationRequest[] = [];
  readonly counts = { stop: 0, length: 0, abort: 0, error: 0 };
  running = 0;
  closed = false;
  /** The next request fails with it. */
  failure: Error | undefined;
  /** Tokens before {@link failure} comes. */
  failAfter = 0;
  readonly #contextTokens: number;

  constructor(contextTokens = 100) {
    this.#contextTokens = contextTokens;
  }

  async generate(request: GenerationRequest): Promise<GenerationResult> {
    this.requests.push(request);
    if (this.closed)
      throw new EngineError("KVPAGE_CLOSED", "the engine is closing and takes no new requests");
    const tokens = request.prompt.length + request.maxTokens;
    if (tokens > this.#contextTokens) {
      throw new EngineError(
        "KVPAGE_CONTEXT_EXCEEDED",
        `${tokens} tokens; the context holds ${this.#contextTokens}`,
      );
    }
    this.running++;
    try {
      return await this.#run(request);
    } finally {
      this.running--;
    }
  }

  async #run(request: GenerationRequest): Promise<GenerationResult> {
    const { prompt, maxTokens, signal, topLogprobs } = request;
    const generated: number[] = [];
    let finishReason: "stop" | "length" = "length";
    for (let i = 0; i < maxTokens; i++) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      if (signal?.aborted === true) {
        this.counts.abort++;
        throw new EngineError("KVPAGE_ABORTED", "the request was aborted by its signal");
      }
      if (this.failure !== undefined && i === this.failAfter) throw this.failure;
      const token = prompt[i % prompt.length]!;
      generated.push(token);
      const top = Array.from({ length: topLogprobs ?? 0 }, (_, k) => ({
        token: (token + k) % 256,
        logprob: -k - 0.5,
      }));
      if (request.onToken?.({ token, logprob: -0.5, top }) === true) {
        finishReason = "stop";
        break;
      }
    }
    this.counts[finishReason]++;
    return {
      finishReason,
      tokens: Int32Array.from(generated),
      promptTokens: prompt.length,
      cachedTokens: 3,
      pagesIn: 0,
      preemptions: 0,
      queueMs: 1,
      firstTokenMs: 2,
      totalMs: 3,
    };
  }

  stats(): EngineStats {
    return {
      policy: "lru",
      predictor: "recency",
      pageTokens: 16,
      pageBytes: 4096,
      running: this.running,
      waiting: 0,
      sessions: 1,
      device: { pages: 8, free: 5, pinned: 2, idle: 1 },
      host: { pages: 4, used: 1 },
      promptTokens: 40,
      cachedTokens: 30,
      generatedTokens: 20,
      recomputedTokens: 0,
      steps: 50,
      faults: 7,
      shadowLruFaults: 8,
      pageOut: { evict: 5, preempt: 1 },
      cleanEvictions: 2,
      pageIn: 4,
      dropped: 0,
      preemptions: 1,
      requests: { ...this.counts },
    };
  }

  async close(): Promise<void> {
    this.closed = true;
    while (this.running > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
