/** A snapshot of the engine's gauges and counters. Counters only grow. */
export interface EngineStats {
  readonly policy: string;
  readonly predictor: string;
  readonly pageTokens: number;
  readonly pageBytes: number;

  /** Requests in a step now. */
  readonly running: number;
  /** Requests that wait for admission or for their pages. */
  readonly waiting: number;
  /** Conversations that hold pages on some tier. */
  readonly sessions: number;

  readonly device: {
    readonly pages: number;
    readonly free: number;
    /** In use by a running request: never a victim. */
    readonly pinned: number;
    /** Resident and in use by no running request. */
    readonly idle: number;
  };
  readonly host: {
    readonly pages: number;
    readonly used: number;
  };

  /** Prompt tokens of admitted requests. */
  readonly promptTokens: number;
  /** … of which were kept from earlier turns. */
  readonly cachedTokens: number;
  readonly generatedTokens: number;
  /** Prompt tokens that had been computed before and were dropped for want of host memory. */
  readonly recomputedTokens: number;
  readonly steps: number;

  /** Pages of a turn that were not resident when it came. */
  readonly faults: number;
  /** The same count, had the policy been LRU. */
  readonly shadowLruFaults: number;
  /** Pages copied device → host, by the reason why they had to go. */
  readonly pageOut: { readonly evict: number; readonly preempt: number };
  /** Evictions that needed no copy because the host had one. */
  readonly cleanEvictions: number;
  /** Pages copied host → device. */
  readonly pageIn: number;
  /** Pages whose K and V were given up: no room on the host. */
  readonly dropped: number;
  readonly preemptions: number;
  readonly requests: {
    readonly stop: number;
    readonly length: number;
    readonly abort: number;
    readonly error: number;
  };
}
