import { Lfd } from "./lfd.ts";
import { simulate, type SimulationResult } from "./simulate.ts";
import type { PageTrace } from "./trace.ts";

export interface DiscardTruth {
  /** One bit per access: 1 iff LFD evicts the page after this access and before its next one. */
  readonly bits: Uint8Array;
  /** Faults of LFD: the offline optimum. */
  readonly opt: number;
  /** LFD's run in full. */
  readonly result: SimulationResult;
  /** Pages in LFD's cache at the end; their last bit is 0. */
  readonly resident: number;
}

/**
 * True discard bits (Antoniadis et al., ICML 2023, section 2), from one run of LFD with its tie rule.
 * The number of 1s is opt − resident.
 */
export function discardTruth(trace: PageTrace, capacity: number): DiscardTruth {
  const bits = new Uint8Array(trace.ids.length);
  const lastAccess = new Int32Array(trace.pages);
  const lfd = new Lfd({ capacity, pages: trace.pages });
  const result = simulate(trace, lfd, 0, {
    onTouch: (page, access) => {
      lastAccess[page] = access;
    },
    onEvict: (page) => {
      bits[lastAccess[page]!] = 1;
    },
  });
  return { bits, opt: result.faults, result, resident: lfd.size };
}

/**
 * The phase of each access: a new phase opens at the access that would be the (k + 1)-th distinct page of the
 * present one. Accesses are taken in the order in which they are served: deepest first within a request.
 */
export function phases(trace: PageTrace, capacity: number): Uint32Array {
  const phase = new Uint32Array(trace.ids.length);
  const seenIn = new Int32Array(trace.pages).fill(-1);
  let current = 0;
  let distinct = 0;
  forEachServed(trace, (page, access) => {
    if (seenIn[page] !== current) {
      if (distinct === capacity) {
        current++;
        distinct = 0;
      }
      seenIn[page] = current;
      distinct++;
    }
    phase[access] = current;
  });
  return phase;
}

/** True phase bits (section 4): 0 iff the page is requested in the next phase; 1 throughout the last phase. */
export function phaseTruth(trace: PageTrace, capacity: number): Uint8Array {
  const phase = phases(trace, capacity);
  const bits = new Uint8Array(trace.ids.length);
  // Backwards: the phase in which a page is seen next, and the one after its present phase.
  const seen = new Int32Array(trace.pages).fill(-1);
  const after = new Int32Array(trace.pages).fill(-1);
  forEachServedBackwards(trace, (page, access) => {
    const current = phase[access]!;
    if (seen[page] !== current) {
      after[page] = seen[page]!;
      seen[page] = current;
    }
    bits[access] = after[page] === current + 1 ? 0 : 1;
  });
  return bits;
}

/**
 * Sum over the phases of their clean pages: those not requested in the phase before, all pages in the first one.
 * What marking with perfect phase bits costs, and at most 2·OPT.
 */
export function cleanPages(trace: PageTrace, capacity: number): number {
  const phase = phases(trace, capacity);
  const seenIn = new Int32Array(trace.pages).fill(-2);
  let clean = 0;
  forEachServed(trace, (page, access) => {
    if (seenIn[page]! < phase[access]! - 1) clean++;
    seenIn[page] = phase[access]!;
  });
  return clean;
}

/** Wrong predictions by predicted value: η₀ those that said 0, η₁ those that said 1. */
export interface PredictionErrors {
  readonly eta0: number;
  readonly eta1: number;
}

/** Errors of discard predictions: every access counts. */
export function discardErrors(truth: Uint8Array, bits: Uint8Array): PredictionErrors {
  let eta0 = 0;
  let eta1 = 0;
  for (let i = 0; i < truth.length; i++) {
    if (truth[i] === bits[i]) continue;
    if (bits[i] === 0) eta0++;
    else eta1++;
  }
  return { eta0, eta1 };
}

/** Errors of phase predictions: only the last bit of each page in each phase, and not the last phase. */
export function phaseErrors(trace: PageTrace, capacity: number, bits: Uint8Array): PredictionErrors {
  const phase = phases(trace, capacity);
  const truth = phaseTruth(trace, capacity);
  const last = phase.reduce((a, b) => Math.max(a, b), 0);
  const countedIn = new Int32Array(trace.pages).fill(-1);
  let eta0 = 0;
  let eta1 = 0;
  forEachServedBackwards(trace, (page, access) => {
    const current = phase[access]!;
    if (countedIn[page] === current) return;
    countedIn[page] = current;
    if (current === last || truth[access] === bits[access]) return;
    if (bits[access] === 0) eta0++;
    else eta1++;
  });
  return { eta0, eta1 };
}

function forEachServed(trace: PageTrace, visit: (page: number, access: number) => void): void {
  const { ids, offsets } = trace;
  for (let r = 0; r + 1 < offsets.length; r++) {
    for (let i = offsets[r + 1]! - 1; i >= offsets[r]!; i--) visit(ids[i]!, i);
  }
}

function forEachServedBackwards(trace: PageTrace, visit: (page: number, access: number) => void): void {
  const { ids, offsets } = trace;
  for (let r = offsets.length - 2; r >= 0; r--) {
    for (let i = offsets[r]!; i < offsets[r + 1]!; i++) visit(ids[i]!, i);
  }
}
