/** One predicted bit per request: 0 = keep the page, 1 = let it go. */
export type Bit = 0 | 1;

/**
 * An eviction policy over pages with dense integer ids. The same object serves a replay and an engine.
 *
 * A *group request* (a turn of a conversation) pins its resident pages, makes room with {@link victim} for the
 * missing ones, and {@link touch}es all of them, deepest page first, so that of pages with equal standing the
 * deepest is the first to go.
 */
export interface Policy {
  /** As on the command line: `lru`, `mark0`, … */
  readonly name: string;
  /** Pages that fit, ≥ 1. */
  readonly capacity: number;
  /** Resident pages. */
  readonly size: number;
  /** Is the page resident? */
  has(page: number): boolean;
  /**
   * The page is requested, and `bit` is predicted for it. A page that is not resident becomes resident:
   * the caller has made room (`size < capacity`), else this throws.
   *
   * @param deeper the page that follows this one in the same group request, −1 (the default) if none does. Policies
   *   that choose at random take a request's pages from its tail by it; the others ignore it.
   */
  touch(page: number, bit: Bit, deeper?: number): void;
  /** A pinned page is never a victim. Pins count; the page must be resident. */
  pin(page: number): void;
  /** The last unpin puts the page among the most recently requested ones: of a group, unpin the deepest first. */
  unpin(page: number): void;
  /** Chooses a resident page that is not pinned, evicts it and returns it; −1 if every page is pinned. */
  victim(): number;
  /** The page is gone for a reason other than eviction (its conversation ended). No effect if not resident. */
  remove(page: number): void;
  /** Walks the whole state and throws a PagingError on a broken invariant. For tests; not for hot paths. */
  checkIntegrity(): void;
}
