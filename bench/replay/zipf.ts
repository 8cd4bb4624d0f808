/**
 * Ids 0..count − 1 with probability proportional to 1/(id + 1), by inverting the cumulative weights: the smallest id
 * whose running sum exceeds a uniform number of 53 bits (two mulberry32 draws, 27 and 26) times the total. The same
 * sequence for the same seed, everywhere.
 */
export function zipfRequests(requests: number, count: number, seed: number): Uint32Array {
  const cumulative = new Float64Array(count);
  let total = 0;
  for (let id = 0; id < count; id++) {
    total += 1 / (id + 1);
    cumulative[id] = total;
  }
  const next = mulberry32(seed);
  const ids = new Uint32Array(requests);
  for (let r = 0; r < requests; r++) {
    const high = next() >>> 5;
    const low = next() >>> 6;
    ids[r] = firstAbove(cumulative, ((high * 2 ** 26 + low) / 2 ** 53) * total);
  }
  return ids;
}

function firstAbove(ascending: Float64Array, target: number): number {
  let from = 0;
  let to = ascending.length - 1;
  while (from < to) {
    const middle = (from + to) >>> 1;
    if (ascending[middle]! > target) to = middle;
    else from = middle + 1;
  }
  return from;
}

function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
}
