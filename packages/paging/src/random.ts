/** Where the choices of randomised policies come from. */
export interface RandomSource {
  /** A uniform integer of 0..count − 1; 1 ≤ count ≤ 2^32. */
  below(count: number): number;
}

/** mulberry32: a small seeded generator; returns the next uint32. */
export function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
}

export function seededSource(seed: number): RandomSource {
  const next = mulberry32(seed);
  return { below: (count) => Math.floor((next() / 4294967296) * count) };
}
