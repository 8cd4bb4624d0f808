import { PagingError, requireInteger } from "./errors.ts";
import type { Bit } from "./policy.ts";
import { mulberry32 } from "./random.ts";
import { parseRate } from "./rates.ts";
import type { PolicySizes } from "./residency.ts";

/** Where bits come from: asked once for each access, in the order of the requests. */
export interface Predictor {
  /** As on the command line: `recency`, `constant:1`, … */
  readonly name: string;
  predict(page: number): Bit;
  /** The page id will stand for another page from now on. */
  forget(page: number): void;
}

export interface PredictorOptions extends PolicySizes {
  readonly seed?: number;
  /** True bits in the order of the accesses, for predictors that need them. */
  readonly truth?: Uint8Array;
}

/** Names that {@link createPredictor} knows; `q` is a probability. */
export const predictorNames: readonly string[] = [
  "recency",
  "constant:0",
  "constant:1",
  "random",
  "oracle",
  "flip:q",
  "reversed",
];

/**
 * Makes a predictor by name.
 *
 * - `recency`: 0 if the page's last two requests lie at most four cache sizes of accesses apart, else 1. A page never
 *   seen gets 1: a wrong 1 costs one fault, a wrong 0 up to k − 1. Four, because a good schedule keeps pages beyond
 *   what LRU can hold: with one, misses were up to 31 % above LRU's on session traces; with four at most 7 %, and 1 to
 *   8 % below LRU's on most check-in and bike-station traces.
 * - `constant:b`, `random`: as they are called.
 * - `oracle` tells the truth, `flip:q` lies with probability q, `reversed` always.
 *
 * @throws PagingError KVPAGE_UNKNOWN_NAME, KVPAGE_NEEDS_FUTURE without `truth` where it is needed
 */
export function createPredictor(name: string, options: PredictorOptions): Predictor {
  const { seed = 1, truth } = options;
  requireInteger("capacity", options.capacity, 1, 2 ** 31 - 1);
  requireInteger("pages", options.pages, 1, 2 ** 31 - 1);
  if (name === "recency") return new Recency(options);
  if (name === "constant:0" || name === "constant:1")
    return new Constant(name, name === "constant:0" ? 0 : 1);
  if (name === "random") return new Flip(name, 0.5, seed, undefined);
  const flips = name === "oracle" ? 0 : name === "reversed" ? 1 : parseRate("flip", name);
  if (flips === undefined) {
    throw new PagingError(
      "KVPAGE_UNKNOWN_NAME",
      `predictor is "${name}"; expected one of ${predictorNames.join(", ")}`,
    );
  }
  if (truth === undefined) {
    throw new PagingError(
      "KVPAGE_NEEDS_FUTURE",
      `predictor "${name}" needs the true bits of a recorded trace`,
    );
  }
  return new Flip(name, flips, seed, truth);
}

/** Do the predictor's bits depend on the seed? */
export function isRandomPredictor(name: string): boolean {
  return name === "random" || parseRate("flip", name) !== undefined;
}

class Constant implements Predictor {
  readonly name: string;
  readonly #bit: Bit;

  constructor(name: string, bit: Bit) {
    this.name = name;
    this.#bit = bit;
  }

  predict(): Bit {
    return this.#bit;
  }

  forget(): void {}
}

class Recency implements Predictor {
  readonly name = "recency";
  /** Accesses. */
  readonly #window: number;
  /** Number of the page's last access, from 1; 0: none. */
  readonly #last: Float64Array;
  #accesses = 0;

  constructor(sizes: PolicySizes) {
    this.#window = 4 * sizes.capacity;
    this.#last = new Float64Array(sizes.pages);
  }

  predict(page: number): Bit {
    const last = this.#last[page]!;
    this.#last[page] = ++this.#accesses;
    return last > 0 && this.#accesses - last <= this.#window ? 0 : 1;
  }

  forget(page: number): void {
    this.#last[page] = 0;
  }
}

/** The truth (all 0 if there is none), each bit flipped with a fixed probability. */
class Flip implements Predictor {
  readonly name: string;
  readonly #threshold: number;
  readonly #random: () => number;
  readonly #truth: Uint8Array | undefined;
  #access = 0;

  constructor(name: string, rate: number, seed: number, truth: Uint8Array | undefined) {
    this.name = name;
    this.#threshold = rate * 2 ** 32;
    this.#random = mulberry32(seed);
    this.#truth = truth;
  }

  predict(): Bit {
    const truth = this.#truth?.[this.#access++] ?? 0;
    return (this.#random() < this.#threshold ? 1 - truth : truth) as Bit;
  }

  forget(): void {}
}

/** All bits of a trace at once; `ids` are its pages in the order of the accesses. */
export function predictAll(predictor: Predictor, ids: Uint32Array): Uint8Array {
  const bits = new Uint8Array(ids.length);
  for (let i = 0; i < ids.length; i++) bits[i] = predictor.predict(ids[i]!);
  return bits;
}
