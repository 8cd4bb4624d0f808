import { VAttentionError } from "./errors.ts";
import { type KvCacheStats, loadAddon, type NativeKvCache } from "./native.ts";

export interface KvCacheOptions {
  /** Bytes of one page: a multiple of {@link KvCache.granularity}. */
  readonly pageBytes: number;
  /** Physical pages: the hard bound. All are allocated at creation, or creation fails. */
  readonly pages: number;
  /** Windows that can be open at once. Address space only. */
  readonly windows: number;
  /** Pages of one window: the longest sequence. Address space only. */
  readonly windowPages: number;
  /**
   * Pages of the host tier (default 0). Their bytes must be available at creation, or creation fails; they become
   * resident as they are first written, and stay so until disposal.
   */
  readonly hostPages?: number;
  readonly backend?: "posix";
}

/**
 * A KV cache in virtual memory: windows are contiguous address ranges, physical pages are mapped into them on
 * demand, and what is not mapped cannot be read (vAttention, ASPLOS 2025, sections 4 and 5).
 *
 * Page, host page and window numbers are small integers from 0. A page has one reference for each holder
 * (`allocate`, `retain`) and one for each mapping; it returns to the pool when the last is dropped.
 * Every method either succeeds or throws a {@link VAttentionError} and changes nothing.
 */
export class KvCache implements Disposable {
  readonly pageBytes: number;
  readonly pages: number;
  readonly windows: number;
  readonly windowPages: number;
  readonly hostPages: number;
  /** Virtual address of window 0; window w starts `w · windowPages · pageBytes` above it. Never changes. */
  readonly baseAddress: bigint;
  /** Bytes from `baseAddress` that belong to the windows. */
  readonly reservedBytes: number;

  #native: NativeKvCache | undefined;
  readonly #windowBytes: bigint;
  readonly #copies = new Set<Promise<void>>();

  /** Smallest mappable unit in bytes. */
  static granularity(backend: "posix" = "posix"): number {
    requireBackend(backend);
    return loadAddon().granularity;
  }

  /** @throws VAttentionError KVPAGE_INVALID_ARGUMENT, KVPAGE_OUT_OF_MEMORY, KVPAGE_NO_NATIVE */
  constructor(options: KvCacheOptions) {
    if (typeof options !== "object" || options === null) throw invalid("options", options, "an object");
    const { pageBytes, pages, windows, windowPages, hostPages = 0, backend = "posix" } = options;
    requireInteger("pageBytes", pageBytes, 1, Number.MAX_SAFE_INTEGER);
    requireInteger("pages", pages, 1, 2 ** 31 - 1);
    requireInteger("windows", windows, 1, 2 ** 20);
    requireInteger("windowPages", windowPages, 1, 2 ** 31 - 1);
    requireInteger("hostPages", hostPages, 0, 2 ** 31 - 1);
    requireBackend(backend);
    this.#native = new (loadAddon().KvCache)(pageBytes, pages, windows, windowPages, hostPages);
    this.pageBytes = pageBytes;
    this.pages = pages;
    this.windows = windows;
    this.windowPages = windowPages;
    this.hostPages = hostPages;
    this.baseAddress = this.#native.baseAddress();
    this.reservedBytes = windows * windowPages * pageBytes;
    this.#windowBytes = BigInt(windowPages) * BigInt(pageBytes);
  }

  get freePages(): number {
    return this.#live.freePages();
  }

  get freeHostPages(): number {
    return this.#live.freeHostPages();
  }

  get freeWindows(): number {
    return this.#live.freeWindows();
  }

  /** @throws VAttentionError KVPAGE_OUT_OF_WINDOWS */
  openWindow(): number {
    return this.#live.openWindow();
  }

  /** Unmaps all pages of the window; those that nobody else holds are free again. */
  closeWindow(window: number): void {
    this.#live.closeWindow(this.#window(window));
  }

  /** Virtual address of the window's first byte, open or not. */
  windowAddress(window: number): bigint {
    void this.#live;
    return this.baseAddress + BigInt(this.#window(window)) * this.#windowBytes;
  }

  /** Pages 0..n−1 of the window are mapped. */
  mappedPages(window: number): number {
    return this.#live.mappedPages(this.#window(window));
  }

  /**
   * Makes at least `pages` pages mapped. The missing ones are fresh from the pool, hold old bytes, and belong to
   * the window alone.
   *
   * @throws VAttentionError KVPAGE_OUT_OF_PAGES, KVPAGE_OUT_OF_AREAS; nothing is mapped then.
   */
  grow(window: number, pages: number): void {
    requireInteger("pages", pages, 0, this.windowPages);
    this.#live.grow(this.#window(window), pages);
  }

  /** Maps existing pages behind the window's last one, in order. Mapping a page twice shares it. */
  map(window: number, pages: Int32Array): void {
    this.#live.map(this.#window(window), pageList("pages", pages));
  }

  /** Unmaps from the end until `pages` pages are left; a page in flight never loses its last reference. */
  truncate(window: number, pages: number): void {
    requireInteger("pages", pages, 0, this.windowPages);
    this.#live.truncate(this.#window(window), pages);
  }

  /** The page that is mapped at a position of the window. */
  pageAt(window: number, index: number): number {
    requireInteger("index", index, 0, this.windowPages - 1);
    return this.#live.pageAt(this.#window(window), index);
  }

  /** A page with one reference. @throws VAttentionError KVPAGE_OUT_OF_PAGES */
  allocate(): number {
    return this.#live.allocate();
  }

  retain(page: number): void {
    this.#live.retain(this.#page(page));
  }

  /**
   * Drops a reference that `allocate` or `retain` gave; those of mappings go with `truncate` and `closeWindow`.
   *
   * @throws VAttentionError KVPAGE_PAGE_FREE, KVPAGE_PAGE_MAPPED; KVPAGE_PAGE_IN_FLIGHT if it is the last one of a
   *   page that is being copied.
   */
  release(page: number): void {
    this.#live.release(this.#page(page));
  }

  references(page: number): number {
    return this.#live.references(this.#page(page));
  }

  /** @throws VAttentionError KVPAGE_OUT_OF_HOST_PAGES */
  allocateHost(): number {
    return this.#live.allocateHost();
  }

  /** @throws VAttentionError KVPAGE_PAGE_FREE, KVPAGE_PAGE_IN_FLIGHT */
  releaseHost(hostPage: number): void {
    this.#live.releaseHost(this.#hostPage(hostPage));
  }

  /**
   * Copies `pages[i]` to `hostPages[i]` for all i, off the main thread. Until the promise settles they are in
   * flight: the pages may be read, also by another copy, but not written or freed, the host pages none of it.
   * That is enforced for every call here (KVPAGE_PAGE_IN_FLIGHT), and is the caller's duty for what runs on addresses.
   * Rejects, before anything is copied, when an argument is wrong.
   */
  async pageOut(pages: Int32Array, hostPages: Int32Array): Promise<void> {
    const from = pageList("pages", pages);
    const to = pageList("hostPages", hostPages);
    await this.#track(this.#live.pageOut(from, to));
  }

  /** Copies `hostPages[i]` to `pages[i]` for all i, off the main thread; the counterpart of {@link pageOut}. */
  async pageIn(hostPages: Int32Array, pages: Int32Array): Promise<void> {
    const from = pageList("hostPages", hostPages);
    const to = pageList("pages", pages);
    await this.#track(this.#live.pageIn(from, to));
  }

  /** Copies a page's bytes; `into` holds exactly `pageBytes`. */
  readPage(page: number, into: Uint8Array): void {
    this.#live.readPage(this.#page(page), bytes("into", into));
  }

  writePage(page: number, from: Uint8Array): void {
    this.#live.writePage(this.#page(page), bytes("from", from));
  }

  readHostPage(hostPage: number, into: Uint8Array): void {
    this.#live.readHostPage(this.#hostPage(hostPage), bytes("into", into));
  }

  /** Copies bytes of the window from `offset` on. @throws VAttentionError KVPAGE_NOT_MAPPED */
  read(window: number, offset: number, into: Uint8Array): void {
    requireInteger("offset", offset, 0, Number.MAX_SAFE_INTEGER);
    this.#live.read(this.#window(window), offset, bytes("into", into));
  }

  /** @throws VAttentionError KVPAGE_NOT_MAPPED */
  write(window: number, offset: number, from: Uint8Array): void {
    requireInteger("offset", offset, 0, Number.MAX_SAFE_INTEGER);
    this.#live.write(this.#window(window), offset, bytes("from", from));
  }

  /** Overwrites a page with zeros, for a new tenant. */
  zero(page: number): void {
    this.#live.zero(this.#page(page));
  }

  stats(): KvCacheStats {
    return this.#live.stats();
  }

  /** Walks the whole state. @throws VAttentionError KVPAGE_INTEGRITY */
  checkIntegrity(): void {
    this.#live.checkIntegrity();
  }

  /** Waits for copies under way, then disposes. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#copies);
    this.dispose();
  }

  /** Frees everything; a copy under way ends first and keeps the memory until then. Idempotent. */
  dispose(): void {
    this.#native?.dispose();
    this.#native = undefined;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  get #live(): NativeKvCache {
    if (this.#native === undefined) throw new VAttentionError("KVPAGE_DISPOSED", "the cache was disposed");
    return this.#native;
  }

  async #track(copy: Promise<void>): Promise<void> {
    this.#copies.add(copy);
    try {
      await copy;
    } finally {
      this.#copies.delete(copy);
    }
  }

  #window(window: number): number {
    return requireInteger("window", window, 0, this.windows - 1);
  }

  #page(page: number): number {
    return requireInteger("page", page, 0, this.pages - 1);
  }

  #hostPage(hostPage: number): number {
    return requireInteger("hostPage", hostPage, 0, this.hostPages - 1);
  }
}

function invalid(field: string, value: unknown, expected: string): VAttentionError {
  let shown: string;
  try {
    shown = String(value).slice(0, 40);
  } catch {
    shown = typeof value;
  }
  return new VAttentionError("KVPAGE_INVALID_ARGUMENT", `${field} is ${shown}; expected ${expected}`);
}

function requireInteger(field: string, value: number, minimum: number, maximum: number): number {
  if (!Number.isSafeInteger(value) || value < minimum || value > maximum) {
    throw invalid(field, value, `an integer of ${minimum}..${maximum}`);
  }
  return value;
}

function requireBackend(value: unknown): void {
  if (value !== "posix") throw invalid("backend", value, '"posix"');
}

// isView() too: what only inherits from the class has no bytes. The numbers inside are checked natively, on a copy
// that no other thread can change.
function pageList(field: string, value: Int32Array): Int32Array {
  if (!ArrayBuffer.isView(value) || !(value instanceof Int32Array))
    throw invalid(field, value, "an Int32Array");
  return value;
}

function bytes(field: string, value: Uint8Array): Uint8Array {
  if (!ArrayBuffer.isView(value) || !(value instanceof Uint8Array))
    throw invalid(field, value, "a Uint8Array");
  return value;
}
