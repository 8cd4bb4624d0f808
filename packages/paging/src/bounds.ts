import type { PredictionErrors } from "./offline.ts";

export interface BoundFacts extends PredictionErrors {
  readonly capacity: number;
  /** Faults of the offline optimum. */
  readonly opt: number;
  /** Pages of each phase that were not requested in the phase before, summed. */
  readonly cleanPages: number;
}

/**
 * The proved bound on a policy's faults for requests of single pages (Antoniadis et al., ICML 2023): in expectation
 * for the randomised ones. Undefined if the policy has none that these facts give.
 */
export function faultBound(policy: string, facts: BoundFacts): number | undefined {
  const { capacity, opt, cleanPages, eta0, eta1 } = facts;
  switch (policy) {
    case "lfd":
      return opt;
    case "flush-when-all-0s":
      return opt + (capacity - 1) * eta0 + eta1;
    case "mark0":
      return opt + 2 * harmonic(capacity) * eta0 + eta1;
    case "mark-and-predict":
      return cleanPages + (harmonic(capacity) - 1) * eta0 + eta1;
    default:
      return undefined;
  }
}

/** H_n = 1 + 1/2 + … + 1/n. */
export function harmonic(n: number): number {
  let sum = 0;
  for (let i = n; i >= 1; i--) sum += 1 / i;
  return sum;
}
