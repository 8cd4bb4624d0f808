/**
 * Doubly linked lists of pages, all over the same two arrays: a page is in at most one list. Every operation is
 * O(1) and allocates nothing.
 */
export class PageLists {
  /** Entry `page` for pages, entry `pages + list` for the lists' own sentinels. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #length: Int32Array;
  readonly #list: Int8Array;
  readonly #pages: number;

  constructor(pages: number, lists: number) {
    this.#pages = pages;
    this.#next = new Int32Array(pages + lists);
    this.#previous = new Int32Array(pages + lists);
    this.#length = new Int32Array(lists);
    this.#list = new Int8Array(pages).fill(-1);
    for (let i = pages; i < pages + lists; i++) this.#next[i] = this.#previous[i] = i;
  }

  /** The page longest in the list, or −1. */
  oldest(list: number): number {
    const first = this.#next[this.#pages + list]!;
    return first < this.#pages ? first : -1;
  }

  length(list: number): number {
    return this.#length[list]!;
  }

  /** The list that the page is in, or −1. */
  listOf(page: number): number {
    return this.#list[page]!;
  }

  /** Puts a page that is in no list at the young end of one. */
  push(list: number, page: number): void {
    const sentinel = this.#pages + list;
    const last = this.#previous[sentinel]!;
    this.#next[last] = page;
    this.#previous[page] = last;
    this.#next[page] = sentinel;
    this.#previous[sentinel] = page;
    this.#list[page] = list;
    this.#length[list]!++;
  }

  /** Takes the page out of its list; no effect if it is in none. */
  take(page: number): void {
    const list = this.#list[page]!;
    if (list < 0) return;
    const previous = this.#previous[page]!;
    const next = this.#next[page]!;
    this.#next[previous] = next;
    this.#previous[next] = previous;
    this.#list[page] = -1;
    this.#length[list]!--;
  }

  /** Pages of a list, oldest first. For checks, not for hot paths. */
  *pages(list: number): Generator<number> {
    for (let page = this.oldest(list); page >= 0 && page < this.#pages; page = this.#next[page]!) yield page;
  }
}
