import { PageLists } from "./page-lists.ts";
import { QueuedPolicy } from "./queued-policy.ts";
import type { PolicySizes } from "./residency.ts";

/** Least recently used: the page whose last request is longest ago goes. k-competitive; ignores bits. */
export class Lru extends QueuedPolicy {
  readonly name = "lru";
  readonly #lists: PageLists;

  constructor(sizes: PolicySizes) {
    super(sizes);
    this.#lists = new PageLists(this.residency.pages, 1);
  }

  protected override requested(): void {}

  protected override enter(page: number): void {
    this.#lists.push(0, page);
  }

  protected override leave(page: number): void {
    this.#lists.take(page);
  }

  protected override choose(): number {
    return this.#lists.oldest(0);
  }

  protected override waits(page: number): boolean {
    return this.#lists.listOf(page) === 0;
  }
}
