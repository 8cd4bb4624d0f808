import { cleanPages, discardTruth, type PageTrace, phaseTruth, simulate, createPolicy } from "@kvpage/paging";
import type { SimulationResult } from "@kvpage/paging";
import { meanLivePages, type Trace } from "@kvpage/traces";

/** How the pages of a request are served. */
export type Serving = "requests" | "pages";

interface Timed {
  readonly result: SimulationResult;
  readonly seconds: number;
}

/**
 * A trace and what is known about it offline. Knowledge is computed when first asked for; that of a capacity is
 * dropped when another capacity is asked about.
 */
export class Workload {
  readonly trace: Trace;
  readonly loadSeconds: number;
  /** What is simulated: whole requests, or each access as a request of its own. */
  readonly served: PageTrace;
  /** Are there requests of several pages that are served as such? */
  readonly grouped: boolean;
  /** Do requests of several pages fall apart into single ones? */
  readonly split: boolean;

  #livePages: number | undefined;
  #capacity = 0;
  #lru: Timed | undefined;
  #lfd: (Timed & { readonly discardBits: Uint8Array }) | undefined;
  #phase: { readonly bits: Uint8Array; readonly cleanPages: number } | undefined;

  constructor(trace: Trace, loadSeconds: number, serving: Serving) {
    const { ids, pages, offsets } = trace;
    const single = offsets.length - 1 === ids.length;
    this.trace = trace;
    this.loadSeconds = loadSeconds;
    this.grouped = !single && serving === "requests";
    this.split = !single && serving === "pages";
    this.served = this.split
      ? { pages, ids, offsets: Uint32Array.from({ length: ids.length + 1 }, (_, i) => i) }
      : { pages, ids, offsets };
  }

  livePages(): number {
    return (this.#livePages ??= meanLivePages(this.trace));
  }

  lru(capacity: number): Timed {
    this.#at(capacity);
    return (this.#lru ??= timed(() => {
      const policy = createPolicy("lru", { capacity, pages: this.trace.pages });
      return simulate(this.served, policy, 1);
    }));
  }

  /** The offline optimum, with the true discard bits. */
  lfd(capacity: number): Timed & { readonly discardBits: Uint8Array } {
    this.#at(capacity);
    if (this.#lfd === undefined) {
      const started = performance.now();
      const { bits, result } = discardTruth(this.served, capacity);
      this.#lfd = { result, discardBits: bits, seconds: (performance.now() - started) / 1000 };
    }
    return this.#lfd;
  }

  phase(capacity: number): { readonly bits: Uint8Array; readonly cleanPages: number } {
    this.#at(capacity);
    return (this.#phase ??= {
      bits: phaseTruth(this.served, capacity),
      cleanPages: cleanPages(this.served, capacity),
    });
  }

  #at(capacity: number): void {
    if (capacity === this.#capacity) return;
    this.#capacity = capacity;
    this.#lru = undefined;
    this.#lfd = undefined;
    this.#phase = undefined;
  }
}

export function timed(run: () => SimulationResult): Timed {
  const started = performance.now();
  const result = run();
  return { result, seconds: (performance.now() - started) / 1000 };
}
