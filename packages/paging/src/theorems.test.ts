import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bitsFor, groupTraces, pathTraces, singlePageTraces } from "../simulation/arbitrary-traces.ts";
import { eagerFlushFaults } from "../simulation/eager-flush.ts";
import { expectation } from "../simulation/expectation.ts";
import { bruteForceOptimum } from "../simulation/optimum.ts";
import { harmonic } from "./bounds.ts";
import {
  cleanPages,
  createPolicy,
  discardErrors,
  discardTruth,
  faultBound,
  type PageTrace,
  phaseErrors,
  phaseTruth,
  simulate,
} from "./index.ts";

const capacities = fc.integer({ min: 1, max: 4 });

function faults(policy: string, trace: PageTrace, capacity: number, bits: Uint8Array | 0 | 1): number {
  return simulate(trace, createPolicy(policy, { capacity, pages: trace.pages }), bits).faults;
}

function mean(policy: string, trace: PageTrace, capacity: number, bits: Uint8Array): number {
  return expectation(
    (random) => simulate(trace, createPolicy(policy, { capacity, pages: trace.pages, random }), bits).faults,
  );
}

/** Checks a claim on random cases; fast-check prints seed and smallest counterexample of a failure. */
function forAll<Case>(cases: fc.Arbitrary<Case>, claim: (which: Case) => void, numRuns = 300): void {
  fc.assert(fc.property(cases, claim), { numRuns, interruptAfterTimeLimit: 20_000 });
}

const withBits = (traces: fc.Arbitrary<PageTrace>) =>
  traces.chain((trace) => fc.tuple(fc.constant(trace), capacities, bitsFor(trace)));

describe("the offline optimum", () => {
  it("is what brute force finds, for single pages and for groups", () => {
    const traces = fc.oneof(singlePageTraces(14), groupTraces(9, 4), pathTraces(9, 4));
    forAll(fc.tuple(traces, fc.integer({ min: 4, max: 5 })), ([trace, capacity]) => {
      expect(discardTruth(trace, capacity).opt).toBe(bruteForceOptimum(trace, capacity));
    });
    forAll(fc.tuple(singlePageTraces(14), capacities), ([trace, capacity]) => {
      expect(discardTruth(trace, capacity).opt).toBe(bruteForceOptimum(trace, capacity));
    });
  });

  it("evicts as often as it says 1, and keeps what is left", () => {
    forAll(
      fc.tuple(fc.oneof(singlePageTraces(30), groupTraces(15, 4)), fc.constant(4)),
      ([trace, capacity]) => {
        const { bits, opt, resident } = discardTruth(trace, capacity);
        expect(bits.reduce((sum, bit) => sum + bit, 0)).toBe(opt - resident);
      },
    );
  });

  it("has bits that never fall along a path of a prefix tree", () => {
    forAll(pathTraces(20, 5), (trace) => {
      const { bits } = discardTruth(trace, 5);
      for (let r = 0; r + 1 < trace.offsets.length; r++) {
        for (let i = trace.offsets[r]! + 1; i < trace.offsets[r + 1]!; i++) {
          expect(bits[i]).toBeGreaterThanOrEqual(bits[i - 1]!);
        }
      }
    });
  });
});

describe("with perfect discard bits", () => {
  it("Flush-when-all-0s and Mark0 are optimal", () => {
    const cases = fc.oneof(
      fc.tuple(singlePageTraces(30), capacities),
      fc.tuple(fc.oneof(groupTraces(15, 4), pathTraces(15, 4)), fc.integer({ min: 4, max: 5 })),
    );
    forAll(cases, ([trace, capacity]) => {
      const { bits, opt } = discardTruth(trace, capacity);
      expect(faults("flush-when-all-0s", trace, capacity, bits)).toBe(opt);
      expect(faults("mark0", trace, capacity, bits)).toBe(opt);
    });
  });
});

describe("with any bits", () => {
  it("Flush-when-all-0s stays below OPT + (k − 1)·η₀ + η₁, for groups too", () => {
    const groups = groupTraces(15, 4).chain((trace) =>
      fc.tuple(fc.constant(trace), fc.constant(4), bitsFor(trace)),
    );
    forAll(fc.oneof(withBits(singlePageTraces(30)), groups), ([trace, capacity, bits]) => {
      const truth = discardTruth(trace, capacity);
      const facts = { capacity, opt: truth.opt, cleanPages: 0, ...discardErrors(truth.bits, bits) };
      const cost = faults("flush-when-all-0s", trace, capacity, bits);
      expect(cost).toBeLessThanOrEqual(faultBound("flush-when-all-0s", facts)!);
    });
  });

  it("the lazy form never faults more than the eager one", () => {
    forAll(withBits(singlePageTraces(40)), ([trace, capacity, bits]) => {
      const lazy = faults("flush-when-all-0s", trace, capacity, bits);
      expect(lazy).toBeLessThanOrEqual(eagerFlushFaults(trace, capacity, bits));
    });
  });

  it("Mark0 expects at most OPT + 2·H_k·η₀ + η₁", () => {
    forAll(withBits(singlePageTraces(10)), ([trace, capacity, bits]) => {
      const truth = discardTruth(trace, capacity);
      const facts = { capacity, opt: truth.opt, cleanPages: 0, ...discardErrors(truth.bits, bits) };
      expect(mean("mark0", trace, capacity, bits)).toBeLessThanOrEqual(faultBound("mark0", facts)! + 1e-9);
    });
  });

  it("Mark&Predict expects at most Σ clean + (H_k − 1)·η₀ + η₁ and 2·OPT·(1 + 2·H_⌈k/2⌉)", () => {
    forAll(withBits(singlePageTraces(10)), ([trace, capacity, bits]) => {
      const { opt } = discardTruth(trace, capacity);
      const errors = phaseErrors(trace, capacity, bits);
      const clean = cleanPages(trace, capacity);
      const cost = mean("mark-and-predict", trace, capacity, bits);
      const bound = faultBound("mark-and-predict", { capacity, opt, cleanPages: clean, ...errors })!;
      expect(cost).toBeLessThanOrEqual(bound + 1e-9);
      expect(cost).toBeLessThanOrEqual(2 * opt * (1 + 2 * harmonic(Math.ceil(capacity / 2))) + 1e-9);
    });
  });
});

describe("with phase bits", () => {
  it("Mark&Predict costs exactly the clean pages if they are perfect, at most 2·OPT", () => {
    forAll(fc.tuple(singlePageTraces(30), capacities), ([trace, capacity]) => {
      const clean = cleanPages(trace, capacity);
      expect(faults("mark-and-predict", trace, capacity, phaseTruth(trace, capacity))).toBe(clean);
      expect(clean).toBeLessThanOrEqual(2 * discardTruth(trace, capacity).opt);
    });
  });

  it("Mark&Predict does not care which constant they are", () => {
    forAll(fc.tuple(singlePageTraces(10), capacities), ([trace, capacity]) => {
      const zeros = mean("mark-and-predict", trace, capacity, new Uint8Array(trace.ids.length));
      const ones = mean("mark-and-predict", trace, capacity, new Uint8Array(trace.ids.length).fill(1));
      expect(zeros).toBeCloseTo(ones, 9);
    });
  });
});

describe("with all-1 bits", () => {
  it("Flush-when-all-0s and Mark0 are LRU", () => {
    forAll(
      fc.tuple(fc.oneof(singlePageTraces(30), groupTraces(15, 4)), fc.constant(4)),
      ([trace, capacity]) => {
        const lru = faults("lru", trace, capacity, 1);
        expect(faults("flush-when-all-0s", trace, capacity, 1)).toBe(lru);
        expect(faults("mark0", trace, capacity, 1)).toBe(lru);
      },
    );
  });
});

describe("the adversary that requests the missing one of k + 1 pages", () => {
  it("makes the bound of Flush-when-all-0s tight with all-0 bits", () => {
    const capacity = 5;
    const policy = createPolicy("flush-when-all-0s", { capacity, pages: capacity + 1 });
    const ids: number[] = [];
    for (let page = 0; page < capacity; page++) {
      policy.touch(page, 0);
      ids.push(page);
    }
    for (let missing = capacity; ids.length < 600;) {
      ids.push(missing);
      const victim = policy.victim();
      policy.touch(missing, 0);
      missing = victim;
    }
    const trace = {
      pages: capacity + 1,
      ids: Uint32Array.from(ids),
      offsets: Uint32Array.from({ length: 601 }, (_, i) => i),
    };
    const truth = discardTruth(trace, capacity);
    const { eta0, eta1 } = discardErrors(truth.bits, new Uint8Array(ids.length));
    const bound = faultBound("flush-when-all-0s", { capacity, opt: truth.opt, cleanPages: 0, eta0, eta1 })!;
    expect(faults("flush-when-all-0s", trace, capacity, 0)).toBe(600);
    expect(bound).toBeGreaterThanOrEqual(600);
    expect(bound).toBeLessThanOrEqual(600 + capacity * capacity);
  });
});
