import type { PageTrace } from "../src/trace.ts";

/**
 * The least number of faults by trying every content of the cache at every step; at most about 8 pages. Knows
 * nothing of forward distances: contents are bit masks, and between two requests any set of unrequested pages may go.
 */
export function bruteForceOptimum(trace: PageTrace, capacity: number): number {
  const { ids, offsets } = trace;
  let costs = new Map<number, number>([[0, 0]]);
  for (let r = 0; r + 1 < offsets.length; r++) {
    let request = 0;
    for (let i = offsets[r]!; i < offsets[r + 1]!; i++) request |= 1 << ids[i]!;
    const after = new Map<number, number>();
    for (const [content, cost] of costs) {
      const total = cost + bits(request & ~content);
      const others = content & ~request;
      // Every subset of the other pages may stay, if it fits.
      for (let kept = others; ; kept = (kept - 1) & others) {
        const next = request | kept;
        if (bits(next) <= capacity && total < (after.get(next) ?? Infinity)) after.set(next, total);
        if (kept === 0) break;
      }
    }
    costs = after;
  }
  return Math.min(...costs.values());
}

function bits(mask: number): number {
  let count = 0;
  for (let rest = mask; rest !== 0; rest &= rest - 1) count++;
  return count;
}
