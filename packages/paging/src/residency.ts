import { PagingError, requireInteger } from "./errors.ts";

/** The sizes that every policy is made with. */
export interface PolicySizes {
  /** Pages that fit, ≥ 1. */
  readonly capacity: number;
  /** Page ids are 0..pages − 1. */
  readonly pages: number;
}

/**
 * What every policy keeps of a page beside its standing: is it resident, how often is it pinned, and the bit of its
 * last request. A pinned page stands in no queue of its policy: it takes its place when the last pin goes.
 */
export class Residency {
  readonly capacity: number;
  readonly pages: number;
  size = 0;
  /** Resident pages with at least one pin. */
  pinned = 0;
  /** 0: absent; 1: resident; n + 1: resident with n pins. */
  readonly #state: Int32Array;
  readonly bit: Uint8Array;

  constructor(sizes: PolicySizes) {
    this.capacity = requireInteger("capacity", sizes.capacity, 1, 2 ** 31 - 1);
    this.pages = requireInteger("pages", sizes.pages, 1, 2 ** 31 - 1);
    this.#state = new Int32Array(this.pages);
    this.bit = new Uint8Array(this.pages);
  }

  has(page: number): boolean {
    return this.#state[page]! > 0;
  }

  isPinned(page: number): boolean {
    return this.#state[page]! > 1;
  }

  /** Makes an absent page resident. @throws PagingError KVPAGE_CACHE_FULL */
  insert(page: number): void {
    if (this.size >= this.capacity) {
      throw new PagingError(
        "KVPAGE_CACHE_FULL",
        `page ${page} is new and all ${this.capacity} pages are taken`,
      );
    }
    if (!(page >= 0 && page < this.pages)) requireInteger("page", page, 0, this.pages - 1);
    this.#state[page] = 1;
    this.size++;
  }

  /** The resident page is gone, with its pins. */
  delete(page: number): void {
    if (this.#state[page]! > 1) this.pinned--;
    this.#state[page] = 0;
    this.size--;
  }

  /** True if this is the page's first pin. @throws PagingError KVPAGE_NOT_RESIDENT */
  pin(page: number): boolean {
    const state = this.#state[page];
    if (state === undefined || state < 1) throw notResident(page, "resident");
    this.#state[page] = state + 1;
    if (state === 1) this.pinned++;
    return state === 1;
  }

  /** True if this was the page's last pin. @throws PagingError KVPAGE_NOT_RESIDENT */
  unpin(page: number): boolean {
    const state = this.#state[page];
    if (state === undefined || state < 2) throw notResident(page, "pinned");
    this.#state[page] = state - 1;
    if (state === 2) this.pinned--;
    return state === 2;
  }

  /**
   * Checks the counts, and that exactly the resident unpinned pages stand in a queue.
   *
   * @param queued is the page in a queue of the policy?
   */
  check(queued: (page: number) => boolean): void {
    let size = 0;
    let pinned = 0;
    for (let page = 0; page < this.pages; page++) {
      if (this.has(page)) size++;
      if (this.isPinned(page)) pinned++;
      if (queued(page) !== (this.has(page) && !this.isPinned(page))) {
        throw new PagingError("KVPAGE_INTEGRITY", `page ${page}: residency and queues disagree`);
      }
    }
    if (size !== this.size || pinned !== this.pinned || size > this.capacity) {
      throw new PagingError(
        "KVPAGE_INTEGRITY",
        `${size} pages, ${pinned} pinned; counted ${this.size}, ${this.pinned}`,
      );
    }
  }
}

function notResident(page: number, expected: string): PagingError {
  return new PagingError("KVPAGE_NOT_RESIDENT", `page ${page} is not ${expected}`);
}
