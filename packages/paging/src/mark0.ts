import { PageBag } from "./page-bag.ts";
import { PageLists } from "./page-lists.ts";
import { QueuedPolicy } from "./queued-policy.ts";
import { type RandomSource, seededSource } from "./random.ts";
import { RequestTails } from "./request-tails.ts";
import type { PolicySizes } from "./residency.ts";

/**
 * Mark0, lazy form (Antoniadis et al., ICML 2023, section 3). The pages with bit 0 form a virtual cache of marked
 * pages M (requested in this phase) and unmarked ones U. When it is full, a uniformly random page of U leaves it;
 * when U is empty a new phase unmarks all. A page with bit 1 leaves the virtual cache at once. What has left stays
 * resident as a *ghost* and goes first, least recently requested first: as long as there is a ghost the virtual
 * cache is not full, so the random choice is made only when there is none.
 *
 * E[faults] ≤ OPT + 2·H_k·η₀ + η₁; perfect discard bits give OPT.
 *
 * Group requests: pages pinned when a phase opens carry over as marked, and the chosen page hands over to the tail of
 * its request. For requests of one page that is the page itself, the paper's uniform choice.
 */
export class Mark0 extends QueuedPolicy {
  readonly name = "mark0";
  readonly #ghosts: PageLists;
  readonly #random: RandomSource;
  readonly #tails: RequestTails;
  #unmarked: PageBag;
  #marked: PageBag;

  constructor(sizes: PolicySizes & { readonly seed?: number; readonly random?: RandomSource }) {
    super(sizes);
    const { pages, capacity } = this.residency;
    const place = new Int32Array(pages);
    this.#ghosts = new PageLists(pages, 1);
    this.#unmarked = new PageBag(capacity, place);
    this.#marked = new PageBag(capacity, place);
    this.#tails = new RequestTails(pages);
    this.#random = sizes.random ?? seededSource(sizes.seed ?? 1);
  }

  protected override requested(page: number, deeper: number): void {
    this.#tails.link(page, deeper);
  }

  protected override enter(page: number): void {
    if (this.residency.bit[page] === 1) this.#ghosts.push(0, page);
    else this.#marked.add(page);
  }

  protected override leave(page: number): void {
    if (this.#ghosts.listOf(page) === 0) this.#ghosts.take(page);
    else if (this.#marked.has(page)) this.#marked.delete(page);
    else this.#unmarked.delete(page);
  }

  protected override choose(): number {
    if (this.#ghosts.length(0) > 0) return this.#ghosts.oldest(0);
    if (this.#unmarked.size === 0) [this.#unmarked, this.#marked] = [this.#marked, this.#unmarked];
    return this.#tails.tailOf(this.#unmarked.at(this.#random.below(this.#unmarked.size)), this.#unmarked);
  }

  protected override waits(page: number): boolean {
    return this.#ghosts.listOf(page) === 0 || this.#marked.has(page) || this.#unmarked.has(page);
  }
}
