/** A set of pages with O(1) insertion, removal and uniform choice. A page is in at most one of the bags of a family. */
export class PageBag {
  readonly #pages: Int32Array;
  /** Shared by the family: where a page stands in its bag. */
  readonly #place: Int32Array;
  size = 0;

  /** Bags that never share a page may share `place`, an array with an entry per page. */
  constructor(capacity: number, place: Int32Array) {
    this.#pages = new Int32Array(capacity);
    this.#place = place;
  }

  at(index: number): number {
    return this.#pages[index]!;
  }

  has(page: number): boolean {
    const place = this.#place[page]!;
    return place < this.size && this.#pages[place] === page;
  }

  add(page: number): void {
    this.#pages[this.size] = page;
    this.#place[page] = this.size++;
  }

  /** The page must be in this bag. */
  delete(page: number): void {
    const place = this.#place[page]!;
    const last = this.#pages[--this.size]!;
    this.#pages[place] = last;
    this.#place[last] = place;
  }
}
