import { PageBag } from "./page-bag.ts";
import type { Bit } from "./policy.ts";
import { QueuedPolicy } from "./queued-policy.ts";
import { type RandomSource, seededSource } from "./random.ts";
import { RequestTails } from "./request-tails.ts";
import type { PolicySizes } from "./residency.ts";

/**
 * Mark&Predict (Antoniadis et al., ICML 2023, section 4): marking with phase predictions. A requested page is marked
 * and keeps its bit (0: it will be requested in the next phase). When all pages are marked a new phase unmarks them.
 * The victim is uniform among the unmarked pages with bit 1, else uniform among the other unmarked ones.
 *
 * Perfect phase bits cost exactly the clean pages of each phase, ≤ 2·OPT; any bits: E ≤ Σ clean + (H_k − 1)·η₀ + η₁
 * and O(log k)·OPT; constant bits behave as Marker.
 *
 * Group requests: phases open where they must, also inside a group; pages pinned then carry over as marked. The
 * chosen page hands over to the tail of its request among pages of the same bit.
 */
export class MarkAndPredict extends QueuedPolicy {
  readonly name = "mark-and-predict";
  readonly #random: RandomSource;
  readonly #tails: RequestTails;
  // By bit.
  #unmarked: readonly [PageBag, PageBag];
  #marked: readonly [PageBag, PageBag];

  constructor(sizes: PolicySizes & { readonly seed?: number; readonly random?: RandomSource }) {
    super(sizes);
    const { pages, capacity } = this.residency;
    const place = new Int32Array(pages);
    const bags = () => [new PageBag(capacity, place), new PageBag(capacity, place)] as const;
    this.#unmarked = bags();
    this.#marked = bags();
    this.#tails = new RequestTails(pages);
    this.#random = sizes.random ?? seededSource(sizes.seed ?? 1);
  }

  protected override requested(page: number, deeper: number): void {
    this.#tails.link(page, deeper);
  }

  protected override enter(page: number): void {
    this.#marked[this.residency.bit[page] as Bit].add(page);
  }

  protected override leave(page: number): void {
    this.#bagOf(page)?.delete(page);
  }

  protected override choose(): number {
    if (this.#unmarked[0].size + this.#unmarked[1].size === 0) {
      [this.#unmarked, this.#marked] = [this.#marked, this.#unmarked];
    }
    const bag = this.#unmarked[1].size > 0 ? this.#unmarked[1] : this.#unmarked[0];
    return this.#tails.tailOf(bag.at(this.#random.below(bag.size)), bag);
  }

  protected override waits(page: number): boolean {
    return this.#bagOf(page) !== undefined;
  }

  #bagOf(page: number): PageBag | undefined {
    const [unmarked0, unmarked1] = this.#unmarked;
    const [marked0, marked1] = this.#marked;
    if (marked0.has(page)) return marked0;
    if (marked1.has(page)) return marked1;
    if (unmarked0.has(page)) return unmarked0;
    return unmarked1.has(page) ? unmarked1 : undefined;
  }
}
