/** The rival: LRU as one writes it in a few lines, on the insertion order of a Map. Returns the misses. */
export function mapLruMisses(ids: Uint32Array, capacity: number): number {
  const cache = new Map<number, true>();
  let misses = 0;
  for (const id of ids) {
    if (!cache.delete(id)) {
      misses++;
      if (cache.size === capacity) cache.delete(cache.keys().next().value!);
    }
    cache.set(id, true);
  }
  return misses;
}
