import { PagingError } from "./errors.ts";
import { QueuedPolicy } from "./queued-policy.ts";
import type { PolicySizes } from "./residency.ts";

/**
 * Longest forward distance (Belady 1966): the page whose next request is furthest away goes, one that is never
 * requested again before all others. The offline optimum, also for group requests when no page of the request that
 * is being served may go. Ties (pages of the same next request, or of none): the deepest first, then the lowest id.
 *
 * A binary heap over the waiting pages; O(log k) per request.
 */
export class Lfd extends QueuedPolicy {
  readonly name = "lfd";
  /** Request at which the page is next requested; Infinity: never again. */
  readonly #next: Float64Array;
  readonly #depth: Int32Array;
  readonly #heap: Int32Array;
  readonly #place: Int32Array;
  #length = 0;

  constructor(sizes: PolicySizes) {
    super(sizes);
    const { pages, capacity } = this.residency;
    this.#next = new Float64Array(pages).fill(Number.NaN);
    this.#depth = new Int32Array(pages);
    this.#heap = new Int32Array(capacity);
    this.#place = new Int32Array(pages).fill(-1);
  }

  /** Says the future of a page before it is touched. */
  foresee(page: number, nextRequest: number, depth: number): void {
    // The key of a waiting page changes: out of the heap with the old one, in with the new.
    const waiting = this.#place[page]! >= 0;
    if (waiting) this.leave(page);
    this.#next[page] = nextRequest;
    this.#depth[page] = depth;
    if (waiting) this.enter(page);
  }

  protected override requested(page: number): void {
    if (Number.isNaN(this.#next[page]!)) {
      throw new PagingError("KVPAGE_NEEDS_FUTURE", `lfd was not told when page ${page} is next requested`);
    }
  }

  protected override enter(page: number): void {
    this.#place[page] = this.#length++;
    this.#up(page, this.#length - 1);
  }

  protected override leave(page: number): void {
    const place = this.#place[page]!;
    this.#place[page] = -1;
    const last = this.#heap[--this.#length]!;
    if (last === page) return;
    this.#up(last, place);
    this.#down(last, this.#place[last]!);
  }

  protected override choose(): number {
    return this.#heap[0]!;
  }

  protected override waits(page: number): boolean {
    return this.#place[page]! >= 0;
  }

  /** Does a go before b? */
  #before(a: number, b: number): boolean {
    const x = this.#next[a]!;
    const y = this.#next[b]!;
    if (x !== y) return x > y;
    const depths = this.#depth[a]! - this.#depth[b]!;
    return depths === 0 ? a < b : depths > 0;
  }

  #up(page: number, from: number): void {
    let place = from;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      const above = this.#heap[parent]!;
      if (!this.#before(page, above)) break;
      this.#heap[place] = above;
      this.#place[above] = place;
      place = parent;
    }
    this.#heap[place] = page;
    this.#place[page] = place;
  }

  #down(page: number, from: number): void {
    let place = from;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= this.#length) break;
      if (child + 1 < this.#length && this.#before(this.#heap[child + 1]!, this.#heap[child]!)) child++;
      const below = this.#heap[child]!;
      if (!this.#before(below, page)) break;
      this.#heap[place] = below;
      this.#place[below] = place;
      place = child;
    }
    this.#heap[place] = page;
    this.#place[page] = place;
  }
}
