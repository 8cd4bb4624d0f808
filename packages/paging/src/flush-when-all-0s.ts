import { PageLists } from "./page-lists.ts";
import { QueuedPolicy } from "./queued-policy.ts";
import type { PolicySizes } from "./residency.ts";

const ONE = 2;

/**
 * Flush-when-all-0s, lazy form (Antoniadis et al., ICML 2023, section 3). A page with bit 1 goes before any other;
 * if all pages have bit 0, all are flushed. Lazily: flushed pages become *ghosts*, stay resident until space is
 * needed, and a hit on a ghost is a hit. Victims: a ghost, else a 1-page, else the flush; within a class the least
 * recently requested.
 *
 * Faults ≤ OPT + (k − 1)·η₀ + η₁ for any bits (also against any other reference whose behaviour the bits describe);
 * perfect discard bits give OPT; constant bits give LRU.
 */
export class FlushWhenAll0s extends QueuedPolicy {
  readonly name = "flush-when-all-0s";
  readonly #lists: PageLists;
  // A flush renames the 0-pages to ghosts: these two lists swap their parts.
  #zeros = 0;
  #ghosts = 1;

  constructor(sizes: PolicySizes) {
    super(sizes);
    this.#lists = new PageLists(this.residency.pages, 3);
  }

  protected override requested(): void {}

  protected override enter(page: number): void {
    this.#lists.push(this.residency.bit[page] === 1 ? ONE : this.#zeros, page);
  }

  protected override leave(page: number): void {
    this.#lists.take(page);
  }

  protected override choose(): number {
    const lists = this.#lists;
    if (lists.length(this.#ghosts) > 0) return lists.oldest(this.#ghosts);
    if (lists.length(ONE) > 0) return lists.oldest(ONE);
    [this.#zeros, this.#ghosts] = [this.#ghosts, this.#zeros];
    return lists.oldest(this.#ghosts);
  }

  protected override waits(page: number): boolean {
    return this.#lists.listOf(page) >= 0;
  }
}
