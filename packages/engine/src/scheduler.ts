import type { StepBatch } from "@kvpage/runner";
import type { Pager } from "./pager.ts";
import type { KvMemory } from "./ports.ts";
import type { Sequence } from "./sequence.ts";
import type { SessionTable } from "./sessions.ts";

export interface SchedulerOptions {
  readonly pager: Pager;
  readonly memory: KvMemory;
  readonly sessions: SessionTable;
  readonly maxSequences: number;
  /** Tokens of one step, all sequences together. */
  readonly stepTokens: number;
  readonly now: () => number;
  /** Something may be possible now that was not before. */
  readonly wake: () => void;
  /** An admitted sequence could not be given its pages; it is retired. */
  readonly onFailed: (sequence: Sequence, error: Error) => void;
}

/**
 * Who runs. Sequences wait in order of arrival, are admitted once all pages for their tokens are theirs, run in
 * one batch (decodes first, prefill chunks with what is left of the step's tokens), and give way, the latest
 * arrival first, when the running ones outgrow the budget: the oldest request always advances, so every request
 * finishes.
 */
export class Scheduler {
  readonly waiting: Sequence[] = [];
  /** Admitted, their pages on the way. */
  readonly loading = new Map<Sequence, Promise<void>>();
  /** In order of arrival. */
  readonly running: Sequence[] = [];
  preemptions = 0;
  recomputedTokens = 0;

  readonly #options: SchedulerOptions;

  constructor(options: SchedulerOptions) {
    this.#options = options;
  }

  get idle(): boolean {
    return this.waiting.length + this.loading.size + this.running.length === 0;
  }

  /** Admits from the head of the queue while pages and places last. Loads go on while steps run. */
  admit(): void {
    const { maxSequences } = this.#options;
    while (this.waiting.length > 0 && this.running.length + this.loading.size < maxSequences) {
      const sequence = this.waiting[0]!;
      const loaded = this.#tryAdmit(sequence);
      if (loaded === undefined) return;
      this.waiting.shift();
      const load = this.#load(sequence, loaded);
      this.loading.set(sequence, load);
    }
  }

  async #load(sequence: Sequence, loaded: Promise<number>): Promise<void> {
    try {
      sequence.pagesIn += await loaded;
      this.loading.delete(sequence);
      insertByArrival(this.running, sequence);
    } catch (error) {
      this.loading.delete(sequence);
      this.retire(sequence);
      this.#options.onFailed(sequence, error as Error);
    }
    this.#options.wake();
  }

  #tryAdmit(sequence: Sequence): Promise<number> | undefined {
    const { pager, sessions } = this.#options;
    const { prompt } = sequence.request;
    const first = sequence.session === undefined;
    const session = sequence.session ?? sessions.claim(sequence.request.session, prompt);
    if (session.leaving > 0) {
      // Its pages are on their way out; it cannot take them back before they have arrived.
      void pager.settled().then(this.#options.wake);
      return undefined;
    }
    // At least the last token must be computed, for its logits. A sequence that was preempted continues with
    // the tokens that it had.
    const keep = first ? Math.min(session.commonPrefix(prompt), prompt.length - 1) : session.kvTokens;
    const tokens = first ? prompt.length : session.tokens.length;
    const computed = first ? Math.min(session.computedPrefix(prompt), prompt.length - 1) : 0;
    const loaded = pager.tryActivate(session, keep, pager.pagesFor(tokens + 1), this.#growthPages());
    if (loaded === undefined) {
      if (first && session.pages.length === 0) sessions.delete(session);
      return undefined;
    }
    if (first) {
      session.busy = true;
      session.tokens.length = 0;
      session.tokens.append(prompt);
      session.computedTokens = keep;
      sequence.session = session;
      sequence.cachedTokens = keep;
      sequence.admittedMs = this.#options.now();
      this.recomputedTokens += computed - keep;
    }
    return loaded;
  }

  /** One page for each running sequence: what it may need before anyone finishes. */
  #growthPages(): number {
    return this.running.length + this.loading.size;
  }

  /** Makes sure that every running sequence has the pages of its next tokens, preempting where it must. */
  async reservePages(): Promise<void> {
    const { pager } = this.#options;
    const growing = () =>
      this.running.filter((s) => pager.pagesFor(s.session!.tokens.length) > s.session!.pages.length);
    let sequences = growing();
    while (sequences.length > pager.available) {
      // What is on its way in arrived later than what runs, and gives way first.
      if (this.loading.size > 0) await Promise.race(this.loading.values());
      else this.#preempt(this.running.pop()!);
      sequences = growing();
    }
    if (sequences.length > 0) await pager.extend(sequences.map((s) => s.session!));
  }

  #preempt(sequence: Sequence): void {
    this.#options.pager.preempt(sequence.session!);
    sequence.preemptions++;
    this.preemptions++;
    insertByArrival(this.waiting, sequence);
  }

  /** Fills the batch; returns the sequences in it, in its order. */
  compose(batch: StepBatch): Sequence[] {
    const chosen: Sequence[] = [];
    let budget = this.#options.stepTokens;
    batch.sequences = 0;
    const add = (sequence: Sequence, count: number) => {
      this.#fill(batch, sequence, count, this.#options.stepTokens - budget);
      chosen.push(sequence);
      budget -= count;
    };
    for (const sequence of this.running) if (sequence.pending === 1) add(sequence, 1);
    for (const sequence of this.running) {
      if (sequence.pending > 1 && budget > 0) add(sequence, Math.min(sequence.pending, budget));
    }
    return chosen;
  }

  #fill(batch: StepBatch, sequence: Sequence, count: number, offset: number): void {
    const i = batch.sequences++;
    const session = sequence.session!;
    const { sampling = {}, topLogprobs } = sequence.request;
    batch.address[i] = this.#options.memory.windowAddress(session.window);
    batch.past[i] = session.kvTokens;
    batch.count[i] = count;
    batch.tokens.set(session.tokens.view.subarray(session.kvTokens, session.kvTokens + count), offset);
    batch.sample[i] = count === sequence.pending ? 1 : 0;
    batch.temperature[i] = sampling.temperature ?? 0;
    batch.topK[i] = sampling.topK ?? 0;
    batch.topP[i] = sampling.topP ?? 1;
    batch.minP[i] = sampling.minP ?? 0;
    batch.seed[i] = sampling.seed ?? 0n;
    batch.topLogprobs[i] = topLogprobs ?? -1;
  }

  /** The sequence is over: its pages stay with its session. */
  retire(sequence: Sequence): void {
    const { pager, sessions } = this.#options;
    remove(this.running, sequence);
    const { session } = sequence;
    if (session === undefined) return;
    session.busy = false;
    pager.complete(session, sequence.request.reuse);
    if (session.pages.length === 0) sessions.delete(session);
  }

  /** Takes a sequence that is not running out of the queue; false if it is not there. */
  withdraw(sequence: Sequence): boolean {
    if (!remove(this.waiting, sequence)) return false;
    const { session } = sequence;
    if (session !== undefined) {
      session.busy = false;
      if (session.pages.length === 0) this.#options.sessions.delete(session);
    }
    return true;
  }
}

function insertByArrival(list: Sequence[], sequence: Sequence): void {
  let i = list.length;
  while (i > 0 && list[i - 1]!.arrival > sequence.arrival) i--;
  list.splice(i, 0, sequence);
}

function remove(list: Sequence[], sequence: Sequence): boolean {
  const i = list.indexOf(sequence);
  if (i >= 0) list.splice(i, 1);
  return i >= 0;
}
