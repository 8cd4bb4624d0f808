import { describe, expect, it } from "vitest";
import { createPredictor, predictAll, predictorNames, type PagingError } from "./index.ts";

const sizes = { capacity: 2, pages: 40 };
const truth = Uint8Array.from({ length: 4000 }, (_, i) => (i % 3 === 0 ? 1 : 0));
const ids = Uint32Array.from({ length: 4000 }, (_, i) => i % 40);

describe("predictors", () => {
  it("recency: 0 for what came back within four cache sizes", () => {
    const predictor = createPredictor("recency", sizes);
    const bits = predictAll(predictor, Uint32Array.from([0, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1]));
    // 0 returns after 8 accesses at index 9 (8 = 4 · 2), 1 likewise at index 10.
    expect([...bits]).toEqual([1, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0]);
    predictor.forget(0);
    expect(predictor.predict(0)).toBe(1);
  });

  it("constant, random, oracle, reversed", () => {
    expect(createPredictor("constant:0", sizes).predict(3)).toBe(0);
    expect(createPredictor("constant:1", sizes).predict(3)).toBe(1);
    expect(predictAll(createPredictor("oracle", { ...sizes, truth }), ids)).toEqual(truth);
    expect(predictAll(createPredictor("reversed", { ...sizes, truth }), ids)).toEqual(
      truth.map((bit) => 1 - bit),
    );
    const ones = predictAll(createPredictor("random", sizes), ids).reduce((sum, bit) => sum + bit, 0);
    expect(ones / 4000).toBeCloseTo(0.5, 1);
  });

  it("flip:q is wrong with probability q, by seed", () => {
    const flipped = predictAll(createPredictor("flip:0.1", { ...sizes, truth, seed: 5 }), ids);
    const wrong = flipped.filter((bit, i) => bit !== truth[i]).length;
    expect(wrong / 4000).toBeCloseTo(0.1, 1);
    expect(predictAll(createPredictor("flip:0.1", { ...sizes, truth, seed: 5 }), ids)).toEqual(flipped);
    expect(predictAll(createPredictor("flip:0.1", { ...sizes, truth, seed: 6 }), ids)).not.toEqual(flipped);
  });

  it.each([
    ["soothsayer", "KVPAGE_UNKNOWN_NAME"],
    ["flip:1.5", "KVPAGE_UNKNOWN_NAME"],
    ["flip:", "KVPAGE_UNKNOWN_NAME"],
    ["oracle", "KVPAGE_NEEDS_FUTURE"],
    ["flip:0.5", "KVPAGE_NEEDS_FUTURE"],
  ])("%s without the truth: %s", (name, code) => {
    let thrown: PagingError | undefined;
    try {
      createPredictor(name, sizes);
    } catch (error) {
      thrown = error as PagingError;
    }
    expect(thrown?.code).toBe(code);
  });

  it("an unknown predictor's error lists the known", () => {
    expect(() => createPredictor("soothsayer", sizes)).toThrow(predictorNames.join(", "));
  });
});
