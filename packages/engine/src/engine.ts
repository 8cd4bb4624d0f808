import { createPolicy, createPredictor } from "@kvpage/paging";
import { StepBatch } from "@kvpage/runner";
import { KvCache } from "@kvpage/vattention";
import { EngineError } from "./errors.ts";
import { Pager } from "./pager.ts";
import { type MemoryPlan, planMemory } from "./plan.ts";
import type { KvMemory, StepModel } from "./ports.ts";
import type { GeneratedToken, GenerationRequest, GenerationResult, TopLogprob } from "./request.ts";
import { Scheduler } from "./scheduler.ts";
import { Sequence, validateRequest } from "./sequence.ts";
import { SessionTable } from "./sessions.ts";
import type { EngineStats } from "./stats.ts";

/**
 * Without a caller's hint every bit is 1, and flush-when-all-0s with all bits 1 is LRU exactly: a default that is
 * never worse. The recency predictor misses up to 7 % more than LRU on recorded sessions.
 */
export const engineDefaults = {
  policy: "flush-when-all-0s",
  predictor: "constant:1",
  maxSequences: 16,
  stepTokens: 512,
} as const;

export interface EngineSettings {
  /** Longest sequence in tokens, prompt and answer together. */
  readonly contextTokens: number;
  /** Requests that run at once (default 16). */
  readonly maxSequences?: number | undefined;
  /** Tokens of one step, all requests together; ≥ maxSequences (default 512). */
  readonly stepTokens?: number | undefined;
  /** Which idle pages leave first: a name of `policyNames` that needs no knowledge of the future. */
  readonly policy?: string | undefined;
  /** Where the bit of a page comes from when the request says nothing. */
  readonly predictor?: string | undefined;
  /** Seed of randomised policies and predictors (default 1). */
  readonly seed?: number | undefined;
}

export interface EngineOptions extends EngineSettings {
  readonly model: StepModel;
  /** Hard bound of device KV bytes. */
  readonly kvMemoryBytes: number;
  /** Hard bound of the host tier's bytes; 0 = none. */
  readonly hostMemoryBytes: number;
  /** Tokens of one page (default: about 256 KiB, at most 64 tokens). */
  readonly pageTokens?: number | undefined;
}

/** The parts that {@link Engine.create} makes; tests and simulations bring their own. */
export interface EngineParts extends EngineSettings {
  readonly model: StepModel;
  readonly memory: KvMemory;
  readonly plan: MemoryPlan;
  /** Milliseconds; only for the times in results. */
  readonly now?: () => number;
}

/**
 * Serves many conversations on one model with bounded KV memory: continuous batching with chunked prefill,
 * conversations that stay after their turn, and idle ones paged out to the host and back. What a request answers
 * does not depend on any of it.
 */
export class Engine implements AsyncDisposable {
  readonly plan: MemoryPlan;

  readonly #model: StepModel;
  readonly #memory: KvMemory;
  readonly #sessions = new SessionTable();
  readonly #pager: Pager;
  readonly #scheduler: Scheduler;
  readonly #batch: StepBatch;
  readonly #contextTokens: number;
  readonly #names: { readonly policy: string; readonly predictor: string };
  readonly #now: () => number;
  readonly #loop: Promise<void>;

  #arrivals = 0;
  #closing = false;
  #wake: () => void = () => {};
  #steps = 0;
  #promptTokens = 0;
  #cachedTokens = 0;
  #generatedTokens = 0;
  readonly #requests = { stop: 0, length: 0, abort: 0, error: 0 };

  /**
   * Reserves the memory and starts the engine.
   *
   * @throws EngineError KVPAGE_INVALID_ARGUMENT, KVPAGE_BUDGET_TOO_SMALL; errors of @kvpage/vattention when the
   *   memory cannot be had and of @kvpage/paging for an unknown policy or predictor.
   */
  static create(options: EngineOptions): Engine {
    const { model } = options;
    const plan = planMemory({
      rowBytes: model.kvLayout.rowBytes,
      granularity: KvCache.granularity(),
      kvMemoryBytes: options.kvMemoryBytes,
      hostMemoryBytes: options.hostMemoryBytes,
      contextTokens: options.contextTokens,
      maxSequences: options.maxSequences ?? engineDefaults.maxSequences,
      pageTokens: options.pageTokens,
    });
    const memory = new KvCache({
      pageBytes: plan.pageBytes,
      pages: plan.pages,
      hostPages: plan.hostPages,
      windows: plan.windows,
      windowPages: plan.windowPages,
    });
    try {
      return new Engine({ ...options, memory, plan });
    } catch (error) {
      memory.dispose();
      throw error;
    }
  }

  constructor(parts: EngineParts) {
    const {
      model,
      memory,
      plan,
      policy = engineDefaults.policy,
      predictor = engineDefaults.predictor,
      maxSequences = engineDefaults.maxSequences,
      stepTokens = engineDefaults.stepTokens,
      seed = 1,
    } = parts;
    if (!Number.isSafeInteger(stepTokens) || stepTokens < maxSequences) {
      throw new EngineError(
        "KVPAGE_INVALID_ARGUMENT",
        `stepTokens is ${stepTokens}; expected an integer ≥ maxSequences (${maxSequences})`,
      );
    }
    this.plan = plan;
    this.#model = model;
    this.#memory = memory;
    this.#contextTokens = parts.contextTokens;
    this.#now = parts.now ?? (() => performance.now());
    this.#names = { policy, predictor };

    const sizes = { capacity: plan.pages, pages: plan.pages + plan.hostPages, seed };
    this.#pager = new Pager({
      plan,
      memory,
      policy: createPolicy(policy, sizes),
      hostPolicy: createPolicy("flush-when-all-0s", { ...sizes, capacity: Math.max(1, plan.hostPages) }),
      predictor: createPredictor(predictor, sizes),
      onEmpty: (session) => this.#sessions.delete(session),
    });
    this.#scheduler = new Scheduler({
      pager: this.#pager,
      memory,
      sessions: this.#sessions,
      maxSequences,
      stepTokens,
      now: this.#now,
      wake: () => this.#wake(),
      onFailed: (sequence, error) => this.#fail(sequence, error),
    });
    this.#batch = new StepBatch({ maxSequences, maxTokens: stepTokens });
    model.setKvRegion(memory.baseAddress, memory.reservedBytes);
    this.#loop = this.#run();
  }

  /**
   * Runs one request. Resolves when the answer is complete; tokens arrive by `request.onToken` as they come.
   *
   * Rejects with an EngineError: KVPAGE_INVALID_ARGUMENT; KVPAGE_CONTEXT_EXCEEDED or KVPAGE_REQUEST_TOO_LARGE
   * when the request could never fit; KVPAGE_ABORTED; KVPAGE_CLOSED; KVPAGE_STEP_FAILED. An error thrown by
   * `onToken` rejects with that error.
   */
  async generate(request: GenerationRequest): Promise<GenerationResult> {
    this.#check(request);
    const sequence = new Sequence(request, this.#arrivals++, this.#now());
    const abort = () => {
      sequence.aborted = true;
      if (this.#scheduler.withdraw(sequence)) this.#fail(sequence, aborted());
      this.#wake();
    };
    request.signal?.addEventListener("abort", abort, { once: true });
    this.#scheduler.waiting.push(sequence);
    this.#wake();
    try {
      return await sequence.result;
    } finally {
      request.signal?.removeEventListener("abort", abort);
    }
  }

  #check(request: GenerationRequest): void {
    if (this.#closing)
      throw new EngineError("KVPAGE_CLOSED", "the engine is closing and takes no new requests");
    validateRequest(request, this.#model.info.vocabulary);
    if (request.signal?.aborted === true) throw aborted();
    const { prompt, maxTokens } = request;
    const tokens = prompt.length + maxTokens;
    if (tokens > this.#contextTokens) {
      throw new EngineError(
        "KVPAGE_CONTEXT_EXCEEDED",
        `${prompt.length} prompt tokens and maxTokens ${maxTokens} make ${tokens}; ` +
          `the context holds ${this.#contextTokens}`,
      );
    }
    const pages = this.#pager.pagesFor(tokens);
    if (pages > this.plan.pages) {
      throw new EngineError(
        "KVPAGE_REQUEST_TOO_LARGE",
        `${prompt.length} prompt tokens and maxTokens ${maxTokens} need ${pages} pages of ` +
          `${this.plan.pageTokens} tokens; the KV memory holds ${this.plan.pages}`,
      );
    }
  }

  /** A snapshot of gauges and counters. */
  stats(): EngineStats {
    const { plan } = this;
    const scheduler = this.#scheduler;
    const free = this.#memory.freePages;
    const { pinned } = this.#pager;
    return {
      ...this.#names,
      pageTokens: plan.pageTokens,
      pageBytes: plan.pageBytes,
      running: scheduler.running.length,
      waiting: scheduler.waiting.length + scheduler.loading.size,
      sessions: this.#sessions.size,
      device: { pages: plan.pages, free, pinned, idle: plan.pages - free - pinned },
      host: { pages: plan.hostPages, used: plan.hostPages - this.#memory.freeHostPages },
      promptTokens: this.#promptTokens,
      cachedTokens: this.#cachedTokens,
      generatedTokens: this.#generatedTokens,
      recomputedTokens: scheduler.recomputedTokens,
      steps: this.#steps,
      ...this.#pager.counters,
      shadowLruFaults: this.#pager.shadowLruFaults,
      pageOut: { ...this.#pager.counters.pageOut },
      preemptions: scheduler.preemptions,
      requests: { ...this.#requests },
    };
  }

  /** Takes no new requests, answers (`drain`, the default) or aborts those it has, and frees the memory. */
  async close(options: { drain?: boolean } = {}): Promise<void> {
    this.#closing = true;
    if (options.drain === false) {
      const scheduler = this.#scheduler;
      for (const sequence of scheduler.waiting.slice()) {
        scheduler.withdraw(sequence);
        this.#fail(sequence, new EngineError("KVPAGE_CLOSED", "the engine was closed"));
      }
      for (const sequence of [...scheduler.running, ...scheduler.loading.keys()]) sequence.aborted = true;
    }
    this.#wake();
    await this.#loop;
    await this.#memory.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close({ drain: false });
  }

  /** Walks the whole state; throws on a broken invariant. For tests. */
  checkIntegrity(): void {
    this.#pager.checkIntegrity(this.#sessions);
  }

  async #run(): Promise<void> {
    const scheduler = this.#scheduler;
    for (;;) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      scheduler.admit();
      if (scheduler.running.length === 0) {
        if (this.#closing && scheduler.idle) return;
        await woken;
        continue;
      }
      this.#retireAborted();
      try {
        await scheduler.reservePages();
        await this.#step();
      } catch (error) {
        // Nothing here may end the loop: what failed is told to those it concerns.
        for (const sequence of scheduler.running.slice()) this.#end(sequence, asStepError(error));
      }
    }
  }

  #retireAborted(): void {
    for (const sequence of this.#scheduler.running.slice()) {
      if (sequence.aborted) this.#end(sequence, aborted());
    }
  }

  async #step(): Promise<void> {
    const batch = this.#batch;
    const sequences = this.#scheduler.compose(batch);
    if (sequences.length === 0) return;
    await this.#model.step(batch);
    this.#steps++;
    sequences.forEach((sequence, i) => {
      const session = sequence.session!;
      session.kvTokens += batch.count[i]!;
      session.computedTokens = Math.max(session.computedTokens, session.kvTokens);
      if (batch.sample[i] === 1) this.#deliver(sequence, i);
    });
  }

  #deliver(sequence: Sequence, i: number): void {
    const { request } = sequence;
    const token = this.#batch.next[i]!;
    if (Number.isNaN(sequence.firstTokenMs)) {
      sequence.firstTokenMs = this.#now();
      this.#promptTokens += request.prompt.length;
      this.#cachedTokens += sequence.cachedTokens;
    }
    if (request.ignoreEndOfGeneration !== true && this.#model.isEndOfGeneration(token)) {
      this.#finish(sequence, "stop");
      return;
    }
    sequence.generated.push(token);
    sequence.session!.tokens.push(token);
    this.#generatedTokens++;
    let stopped: boolean | undefined;
    try {
      stopped = request.onToken?.(this.#generatedToken(request, i));
    } catch (error) {
      this.#end(sequence, error as Error);
      return;
    }
    if (stopped === true) this.#finish(sequence, "stop");
    else if (sequence.generated.length === request.maxTokens) this.#finish(sequence, "length");
  }

  #generatedToken(request: GenerationRequest, i: number): GeneratedToken {
    const batch = this.#batch;
    const top: TopLogprob[] = [];
    const offset = i * batch.maxTopLogprobs;
    for (let k = 0; k < (request.topLogprobs ?? 0); k++) {
      top.push({ token: batch.topToken[offset + k]!, logprob: batch.topLogprob[offset + k]! });
    }
    return { token: batch.next[i]!, logprob: batch.nextLogprob[i]!, top };
  }

  #finish(sequence: Sequence, reason: "stop" | "length"): void {
    this.#scheduler.retire(sequence);
    this.#requests[reason]++;
    sequence.finish(reason, this.#now());
  }

  #end(sequence: Sequence, error: Error): void {
    this.#scheduler.retire(sequence);
    this.#fail(sequence, error);
  }

  #fail(sequence: Sequence, error: Error): void {
    this.#requests[(error as { code?: string }).code === "KVPAGE_ABORTED" ? "abort" : "error"]++;
    sequence.fail(error);
  }
}

function aborted(): EngineError {
  return new EngineError("KVPAGE_ABORTED", "the request was aborted by its signal");
}

function asStepError(error: unknown): EngineError {
  const message = error instanceof Error ? error.message : String(error);
  return new EngineError("KVPAGE_STEP_FAILED", `the model's step failed: ${message}`, { cause: error });
}
