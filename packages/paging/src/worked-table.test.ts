import { describe, expect, it } from "vitest";
import {
  createPolicy,
  discardTruth,
  phaseTruth,
  simulate,
  singlePageTrace,
  type PageTrace,
} from "./index.ts";
import { expectation } from "../simulation/expectation.ts";

function traceOf(letters: string): PageTrace {
  const ids = Uint32Array.from(letters, (letter) => letter.charCodeAt(0) - 97);
  return singlePageTrace(ids, new Set(ids).size);
}

function variants(truth: Uint8Array): Uint8Array[] {
  return [truth, truth.map(() => 0), truth.map(() => 1), truth.map((bit) => 1 - bit)];
}

function mean(policy: string, trace: PageTrace, capacity: number, bits: Uint8Array): number {
  return expectation(
    (random) => simulate(trace, createPolicy(policy, { capacity, pages: trace.pages, random }), bits).faults,
  );
}

// Faults from an empty cache; per policy with perfect, all-0, all-1 and all flipped bits.
const table = [
  {
    letters: "abcabcabc",
    k: 2,
    opt: 6,
    lru: 9,
    discard: "010101100",
    flush: [6, 9, 9, 7],
    mark0: [6, 7.5, 9, 6.5],
    phase: "010101111",
    predict: [6, 7.5, 7.5, 9],
  },
  {
    letters: "abcbabcb",
    k: 2,
    opt: 5,
    lru: 5,
    discard: "10101000",
    flush: [5, 5, 5, 7],
    mark0: [5, 6.5, 5, 7],
    phase: "10101011",
    predict: [5, 6.5, 6.5, 8],
  },
  {
    letters: "abcdabcdabcd",
    k: 3,
    opt: 6,
    lru: 12,
    discard: "001001001000",
    flush: [6, 12, 12, 10],
    mark0: [6, 8.5, 12, 10],
    phase: "001001001111",
    predict: [6, 8.5, 8.5, 10.5],
  },
  {
    letters: "abcdeabcde",
    k: 3,
    opt: 7,
    lru: 10,
    discard: "0011011000",
    flush: [7, 10, 10, 10],
    mark0: [7, 28 / 3, 10, 53 / 6],
    phase: "0110111111",
    predict: [8, 28 / 3, 28 / 3, 10],
  },
];

describe("small traces worked out by hand", () => {
  it.each(table)("$letters, k = $k", ({ letters, k, ...expected }) => {
    const trace = traceOf(letters);
    const discard = discardTruth(trace, k);
    const phase = phaseTruth(trace, k);
    expect(discard.opt).toBe(expected.opt);
    expect(simulate(trace, createPolicy("lru", { capacity: k, pages: trace.pages }), 0).faults).toBe(
      expected.lru,
    );
    expect(discard.bits.join("")).toBe(expected.discard);
    expect(phase.join("")).toBe(expected.phase);
    variants(discard.bits).forEach((bits, i) => {
      expect(mean("flush-when-all-0s", trace, k, bits)).toBe(expected.flush[i]);
      expect(mean("mark0", trace, k, bits)).toBeCloseTo(expected.mark0[i]!, 9);
    });
    variants(phase).forEach((bits, i) => {
      expect(mean("mark-and-predict", trace, k, bits)).toBeCloseTo(expected.predict[i]!, 9);
    });
  });
});
