import type { PageTrace } from "../src/trace.ts";

/** Flush-when-all-0s as the paper states it: a flush empties the cache. Single pages; evicts the oldest 1-page. */
export function eagerFlushFaults(trace: PageTrace, capacity: number, bits: Uint8Array): number {
  const cache = new Map<number, number>(); // page -> bit, oldest request first
  let faults = 0;
  trace.ids.forEach((page, i) => {
    if (!cache.delete(page)) {
      faults++;
      if (cache.size === capacity) {
        const one = [...cache.keys()].find((candidate) => cache.get(candidate) === 1);
        if (one === undefined) cache.clear();
        else cache.delete(one);
      }
    }
    cache.set(page, bits[i]!);
  });
  return faults;
}
