import { describe, expect, it } from "vitest";
import { KvCache, type KvCacheOptions } from "./kv-cache.ts";

const PAGE_BYTES = 65536;

function create(options: Partial<KvCacheOptions> = {}): KvCache {
  return new KvCache({
    pageBytes: PAGE_BYTES,
    pages: 16,
    windows: 4,
    windowPages: 8,
    hostPages: 8,
    ...options,
  });
}

function withCode(code: string): unknown {
  return expect.objectContaining({ name: "VAttentionError", code });
}

/** Different for every page and every place in it. */
function pattern(seed: number, length = PAGE_BYTES): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (seed * 31 + i * 7 + (i >> 8)) & 255);
}

describe("creation", () => {
  it("tells the layout: window w starts w windows above the base", () => {
    using cache = create();
    expect(cache.reservedBytes).toBe(4 * 8 * PAGE_BYTES);
    for (let w = 0; w < 4; w++) {
      expect(cache.windowAddress(w)).toBe(cache.baseAddress + BigInt(w * 8 * PAGE_BYTES));
    }
    expect([cache.freePages, cache.freeHostPages, cache.freeWindows]).toEqual([16, 8, 4]);
    expect(cache.stats()).toEqual({
      virtualBytes: cache.reservedBytes,
      physicalBytes: 16 * PAGE_BYTES,
      allocatedBytes: 0,
      mappedBytes: 0,
      sharedBytes: 0,
      hostBytes: 8 * PAGE_BYTES,
      hostAllocatedBytes: 0,
      areas: 0,
    });
  });

  it.each([
    ["pageBytes", 0],
    ["pageBytes", 4095],
    ["pages", 0],
    ["pages", 1.5],
    ["windows", -1],
    ["windowPages", Number.NaN],
    ["hostPages", -1],
    ["backend", "cuda"],
  ])("refuses %s = %s and says so", (field, value) => {
    expect(() => create({ [field]: value })).toThrow(withCode("KVPAGE_INVALID_ARGUMENT"));
    expect(() => create({ [field]: value })).toThrow(new RegExp(`${field} is ${value}; expected`));
  });

  it("refuses more memory than there is, on the device and on the host, without touching it", () => {
    expect(() => create({ pages: 2 ** 30 })).toThrow(withCode("KVPAGE_OUT_OF_MEMORY"));
    expect(() => create({ hostPages: 2 ** 30 })).toThrow(withCode("KVPAGE_OUT_OF_MEMORY"));
    expect(() => create({ windows: 2 ** 20, windowPages: 2 ** 20 })).toThrow(
      withCode("KVPAGE_OUT_OF_MEMORY"),
    );
  });
});

describe("windows", () => {
  it("promise far more address space than there is memory", () => {
    using cache = create({ pages: 2, windows: 1024, windowPages: 2 ** 14 });
    expect(cache.reservedBytes).toBe(2 ** 40);
    for (let i = 0; i < 1023; i++) cache.openWindow();
    const last = cache.openWindow();
    cache.grow(last, 2);
    expect(() => cache.grow(last, 3)).toThrow(withCode("KVPAGE_OUT_OF_PAGES"));
    expect(() => cache.openWindow()).toThrow(withCode("KVPAGE_OUT_OF_WINDOWS"));
  });

  it("keep their bytes when they grow, when neighbours come and go, and across page boundaries", () => {
    using cache = create();
    const window = cache.openWindow();
    cache.grow(window, 2);
    const bytes = pattern(1, 2 * PAGE_BYTES);
    cache.write(window, 0, bytes);
    for (let length = 3; length <= 8; length++) {
      const neighbour = cache.openWindow();
      cache.grow(neighbour, 4);
      cache.write(neighbour, 0, new Uint8Array(4 * PAGE_BYTES).fill(length));
      cache.grow(window, length);
      cache.closeWindow(neighbour);
    }
    const read = new Uint8Array(2 * PAGE_BYTES);
    cache.read(window, 0, read);
    expect(read).toEqual(bytes);
    for (const around of [-1, 0, 1]) {
      const part = new Uint8Array(16);
      cache.read(window, PAGE_BYTES - 8 + around, part);
      expect(part).toEqual(bytes.slice(PAGE_BYTES - 8 + around, PAGE_BYTES + 8 + around));
    }
    cache.checkIntegrity();
  });

  it("fail to grow without changing anything, and grow once something was freed", () => {
    using cache = create({ pages: 4 });
    const [a, b] = [cache.openWindow(), cache.openWindow()];
    cache.grow(a, 3);
    const before = cache.stats();
    expect(() => cache.grow(b, 2)).toThrow(/2 pages wanted, 1 of 4 are free/);
    expect(cache.stats()).toEqual(before);
    expect(cache.mappedPages(b)).toBe(0);
    cache.truncate(a, 2);
    cache.grow(b, 2);
    cache.checkIntegrity();
  });

  it("refuse bytes beyond the mapped length", () => {
    using cache = create();
    const window = cache.openWindow();
    cache.grow(window, 1);
    const two = new Uint8Array(2);
    cache.read(window, PAGE_BYTES - 2, two);
    expect(() => cache.read(window, PAGE_BYTES - 1, two)).toThrow(withCode("KVPAGE_NOT_MAPPED"));
    expect(() => cache.write(window, PAGE_BYTES, two)).toThrow(withCode("KVPAGE_NOT_MAPPED"));
    expect(() => cache.write(window, Number.MAX_SAFE_INTEGER, two)).toThrow(withCode("KVPAGE_NOT_MAPPED"));
    cache.closeWindow(window);
    expect(() => cache.read(window, 0, two)).toThrow(withCode("KVPAGE_WINDOW_CLOSED"));
    expect(() => cache.closeWindow(window)).toThrow(withCode("KVPAGE_WINDOW_CLOSED"));
  });

  it("share pages, and hand them on to other windows", () => {
    using cache = create();
    const [a, b] = [cache.openWindow(), cache.openWindow()];
    cache.grow(a, 2);
    cache.write(a, 0, pattern(3, 2 * PAGE_BYTES));
    const pages = Int32Array.of(cache.pageAt(a, 1), cache.pageAt(a, 0));
    cache.map(b, pages);
    expect(cache.references(pages[0]!)).toBe(2);
    expect(cache.stats()).toMatchObject({ mappedBytes: 4 * PAGE_BYTES, sharedBytes: 2 * PAGE_BYTES });
    cache.closeWindow(a);
    const read = new Uint8Array(PAGE_BYTES);
    cache.read(b, PAGE_BYTES, read);
    expect(read).toEqual(pattern(3, 2 * PAGE_BYTES).slice(0, PAGE_BYTES));
    cache.checkIntegrity();
    cache.closeWindow(b);
    expect(cache.freePages).toBe(16);
  });
});

describe("pages", () => {
  it("are freed once", () => {
    using cache = create();
    const page = cache.allocate();
    cache.retain(page);
    cache.release(page);
    cache.release(page);
    expect(() => cache.release(page)).toThrow(withCode("KVPAGE_PAGE_FREE"));
    expect(() => cache.retain(page)).toThrow(withCode("KVPAGE_PAGE_FREE"));
    const hostPage = cache.allocateHost();
    cache.releaseHost(hostPage);
    expect(() => cache.releaseHost(hostPage)).toThrow(withCode("KVPAGE_PAGE_FREE"));
    expect(cache.freePages).toBe(16);
  });

  it("cannot be taken from under a window", () => {
    using cache = create();
    const window = cache.openWindow();
    cache.grow(window, 1);
    expect(() => cache.release(cache.pageAt(window, 0))).toThrow(withCode("KVPAGE_PAGE_MAPPED"));
  });

  it("survive the host: out, overwritten, in to other pages, mapped in another window", async () => {
    const cache = create();
    const first = cache.openWindow();
    cache.grow(first, 8);
    for (let i = 0; i < 8; i++) cache.writePage(cache.pageAt(first, i), pattern(i));
    const pages = Int32Array.from({ length: 8 }, (_, i) => cache.pageAt(first, i));
    const hostPages = Int32Array.from({ length: 8 }, () => cache.allocateHost());
    expect(() => cache.allocateHost()).toThrow(withCode("KVPAGE_OUT_OF_HOST_PAGES"));
    await cache.pageOut(pages, hostPages);
    for (const page of pages) cache.zero(page);
    cache.closeWindow(first);
    const back = Int32Array.from({ length: 8 }, () => cache.allocate()).toReversed();
    await cache.pageIn(hostPages, back);
    cache.openWindow();
    const second = cache.openWindow();
    cache.map(second, back);
    const read = new Uint8Array(PAGE_BYTES);
    for (let i = 0; i < 8; i++) {
      cache.read(second, i * PAGE_BYTES, read);
      expect(Buffer.compare(read, pattern(i))).toBe(0);
      cache.readHostPage(hostPages[i]!, read);
      expect(Buffer.compare(read, pattern(i))).toBe(0);
    }
    cache.checkIntegrity();
    await cache.close();
  });

  it("in flight are neither freed nor written", async () => {
    const cache = create();
    const [page, hostPage] = [cache.allocate(), cache.allocateHost()];
    const copy = cache.pageOut(Int32Array.of(page), Int32Array.of(hostPage));
    expect(() => cache.release(page)).toThrow(withCode("KVPAGE_PAGE_IN_FLIGHT"));
    expect(() => cache.releaseHost(hostPage)).toThrow(withCode("KVPAGE_PAGE_IN_FLIGHT"));
    expect(() => cache.zero(page)).toThrow(withCode("KVPAGE_PAGE_IN_FLIGHT"));
    await copy;
    cache.release(page);
    cache.releaseHost(hostPage);
    await cache.close();
  });

  it("are refused before any is copied", async () => {
    using cache = create();
    const [page, hostPage] = [cache.allocate(), cache.allocateHost()];
    const copy = (pages: number[], hostPages: number[]) =>
      cache.pageOut(Int32Array.from(pages), Int32Array.from(hostPages));
    await expect(copy([page], [])).rejects.toThrow(withCode("KVPAGE_INVALID_ARGUMENT"));
    await expect(copy([page, page + 1], [hostPage, hostPage])).rejects.toThrow(withCode("KVPAGE_PAGE_FREE"));
    await expect(copy([page, page], [hostPage, hostPage])).rejects.toThrow(withCode("KVPAGE_PAGE_IN_FLIGHT"));
    await expect(copy([page], [99])).rejects.toThrow(/host page is 99; expected/);
    await expect(copy([-5], [hostPage])).rejects.toThrow(/page is -5; expected/);
    await copy([], []);
    cache.release(page);
  });
});

describe("disposal", () => {
  it("happens once; every later call says so", async () => {
    const cache = create();
    cache.dispose();
    cache.dispose();
    await cache.close();
    cache[Symbol.dispose]();
    const calls: (() => unknown)[] = [
      () => cache.openWindow(),
      () => cache.freePages,
      () => cache.windowAddress(0),
      () => cache.grow(0, 1),
      () => cache.map(0, new Int32Array(1)),
      () => cache.read(0, 0, new Uint8Array(1)),
      () => cache.stats(),
      () => cache.checkIntegrity(),
    ];
    for (const call of calls) expect(call).toThrow(withCode("KVPAGE_DISPOSED"));
    await expect(cache.pageOut(new Int32Array(1), new Int32Array(1))).rejects.toThrow(
      withCode("KVPAGE_DISPOSED"),
    );
  });

  it("during copies is safe, and they settle", async () => {
    const cache = create({ pages: 256, hostPages: 256 });
    const pages = Int32Array.from({ length: 256 }, () => cache.allocate());
    const hostPages = Int32Array.from({ length: 256 }, () => cache.allocateHost());
    const copies = [0, 1, 2, 3].map((i) =>
      cache.pageOut(pages.subarray(i * 64, i * 64 + 64), hostPages.subarray(i * 64, i * 64 + 64)),
    );
    cache.dispose();
    expect(await Promise.all(copies)).toHaveLength(4);
  });

  it("by close() waits for copies", async () => {
    const cache = create();
    let copied = false;
    void cache
      .pageOut(Int32Array.of(cache.allocate()), Int32Array.of(cache.allocateHost()))
      .then(() => (copied = true));
    await cache.close();
    expect(copied).toBe(true);
  });
});
