import type { PageBag } from "./page-bag.ts";

/**
 * Which page follows which in the last group request of both. A random choice that hits a conversation should cost
 * it its tail, not a hole in the middle that makes everything behind it useless.
 */
export class RequestTails {
  readonly #deeper: Int32Array;
  readonly #shallower: Int32Array;

  constructor(pages: number) {
    this.#deeper = new Int32Array(pages).fill(-1);
    this.#shallower = new Int32Array(pages).fill(-1);
  }

  /** The page is requested; `deeper` (−1: none) follows it in the same request and was touched just before. */
  link(page: number, deeper: number): void {
    this.#shallower[page] = -1;
    this.#deeper[page] = deeper;
    if (deeper >= 0) this.#shallower[deeper] = page;
  }

  /**
   * The deepest page that is reached from `page` along its last request without leaving the bag: `page` itself if it
   * was requested alone. O(depth).
   */
  tailOf(page: number, bag: PageBag): number {
    let tail = page;
    for (;;) {
      const deeper = this.#deeper[tail]!;
      if (deeper < 0 || this.#shallower[deeper] !== tail || !bag.has(deeper)) return tail;
      tail = deeper;
    }
  }
}
