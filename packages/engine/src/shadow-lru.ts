import { createPolicy, type Policy, type PolicySizes } from "@kvpage/paging";

/** The faults that LRU would have had on the turns of this engine. Approximate once pages are dropped. */
export class ShadowLru {
  faults = 0;
  readonly #policy: Policy;

  constructor(sizes: PolicySizes) {
    this.#policy = createPolicy("lru", sizes);
  }

  /** A turn's pages, shallowest first, as one group request. */
  request(pages: Int32Array): void {
    const policy = this.#policy;
    for (const page of pages) if (policy.has(page)) policy.pin(page);
    for (let i = pages.length - 1; i >= 0; i--) {
      const page = pages[i]!;
      const resident = policy.has(page);
      if (!resident) {
        this.faults++;
        if (policy.size === policy.capacity) policy.victim();
      }
      policy.touch(page, 0);
      if (!resident) policy.pin(page);
    }
    for (let i = pages.length - 1; i >= 0; i--) policy.unpin(pages[i]!);
  }

  /** The page is no more. */
  remove(page: number): void {
    this.#policy.remove(page);
  }
}
