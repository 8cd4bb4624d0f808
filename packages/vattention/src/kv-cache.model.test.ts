import { deepEqual, equal } from "node:assert/strict";
import fc from "fast-check";
import { expect, it } from "vitest";
import { VAttentionError } from "./errors.ts";
import { KvCache } from "./kv-cache.ts";

const PAGES = 7;
const HOST_PAGES = 4;
const WINDOWS = 3;
const WINDOW_PAGES = 5;
const PAGE_BYTES = KvCache.granularity();

/** Copies that read a page, or "written" by one. */
type Flight = number | "written";

interface Copy {
  readonly out: boolean;
  readonly pages: readonly number[];
  readonly hostPages: readonly number[];
  readonly done: Promise<void>;
}

/** The cache as plain lists. Each method says which code the real one must give, and changes itself if none. */
class NaiveCache {
  readonly held: number[] = Array.from({ length: PAGES }, () => 0);
  readonly hostHeld = new Set<number>();
  readonly windows: (number[] | undefined)[] = Array.from({ length: WINDOWS }, () => undefined);
  /** The byte that fills a page, where it is known. */
  readonly bytes = new Map<number, number>();
  readonly hostBytes = new Map<number, number>();
  readonly flights = new Map<number, Flight>();
  readonly hostFlights = new Map<number, Flight>();

  mappings(page: number): number {
    return this.windows.flatMap((w) => w ?? []).filter((p) => p === page).length;
  }

  references(page: number): number {
    return this.held[page]! + this.mappings(page);
  }

  get freePages(): number {
    return this.held.filter((_, page) => this.references(page) === 0).length;
  }

  release(page: number): string {
    if (this.references(page) === 0) return "KVPAGE_PAGE_FREE";
    if (this.held[page] === 0) return "KVPAGE_PAGE_MAPPED";
    if (this.references(page) === 1 && this.flights.has(page)) return "KVPAGE_PAGE_IN_FLIGHT";
    this.held[page]!--;
    return "";
  }

  retain(page: number): string {
    if (this.references(page) === 0) return "KVPAGE_PAGE_FREE";
    this.held[page]!++;
    return "";
  }

  releaseHost(page: number): string {
    if (!this.hostHeld.has(page)) return "KVPAGE_PAGE_FREE";
    if (this.hostFlights.has(page)) return "KVPAGE_PAGE_IN_FLIGHT";
    this.hostHeld.delete(page);
    return "";
  }

  map(window: number, pages: readonly number[]): string {
    const mapping = this.windows[window];
    if (mapping === undefined) return "KVPAGE_WINDOW_CLOSED";
    if (mapping.length + pages.length > WINDOW_PAGES) return "KVPAGE_INVALID_ARGUMENT";
    if (pages.some((page) => this.references(page) === 0)) return "KVPAGE_PAGE_FREE";
    mapping.push(...pages);
    return "";
  }

  growth(window: number, pages: number): string {
    const mapping = this.windows[window];
    if (mapping === undefined) return "KVPAGE_WINDOW_CLOSED";
    return pages - mapping.length > this.freePages ? "KVPAGE_OUT_OF_PAGES" : "";
  }

  truncate(window: number, pages: number): string {
    const mapping = this.windows[window];
    if (mapping === undefined) return "KVPAGE_WINDOW_CLOSED";
    const lost = mapping.slice(pages);
    const freed = (page: number) => lost.filter((p) => p === page).length === this.references(page);
    if (lost.some((page) => freed(page) && this.flights.has(page))) return "KVPAGE_PAGE_IN_FLIGHT";
    mapping.length = Math.min(mapping.length, pages);
    return "";
  }

  close(window: number): string {
    const code = this.truncate(window, 0);
    if (code === "") this.windows[window] = undefined;
    return code;
  }

  write(page: number): string {
    if (this.references(page) === 0) return "KVPAGE_PAGE_FREE";
    return this.flights.has(page) ? "KVPAGE_PAGE_IN_FLIGHT" : "";
  }

  /** Both lists are equally long and free of doubles. */
  beginCopy(out: boolean, pages: readonly number[], hostPages: readonly number[]): string {
    for (const [i, page] of pages.entries()) {
      const host = hostPages[i]!;
      if (this.references(page) === 0 || !this.hostHeld.has(host)) return "KVPAGE_PAGE_FREE";
      const busy = (flight: Flight | undefined, written: boolean) =>
        flight === "written" || (written && !!flight);
      if (busy(this.flights.get(page), !out)) return "KVPAGE_PAGE_IN_FLIGHT";
      if (busy(this.hostFlights.get(host), out)) return "KVPAGE_PAGE_IN_FLIGHT";
    }
    for (const [i, page] of pages.entries()) {
      const host = hostPages[i]!;
      const more = (flight: Flight | undefined): Flight => (typeof flight === "number" ? flight + 1 : 1);
      this.flights.set(page, out ? more(this.flights.get(page)) : "written");
      this.hostFlights.set(host, out ? "written" : more(this.hostFlights.get(host)));
    }
    return "";
  }

  endCopy({ out, pages, hostPages }: Copy): void {
    const end = (flights: Map<number, Flight>, page: number) => {
      const flight = flights.get(page);
      if (typeof flight === "number" && flight > 1) flights.set(page, flight - 1);
      else flights.delete(page);
    };
    for (const [i, page] of pages.entries()) {
      const host = hostPages[i]!;
      end(this.flights, page);
      end(this.hostFlights, host);
      const [from, fromKey, to, toKey] = out
        ? ([this.bytes, page, this.hostBytes, host] as const)
        : ([this.hostBytes, host, this.bytes, page] as const);
      const value = from.get(fromKey);
      if (value === undefined) to.delete(toKey);
      else to.set(toKey, value);
    }
  }
}

function code(call: () => void): string {
  try {
    call();
    return "";
  } catch (error) {
    if (error instanceof VAttentionError) return error.code;
    throw error;
  }
}

function compare(cache: KvCache, naive: NaiveCache): void {
  cache.checkIntegrity();
  expect(cache.freePages).toBe(naive.freePages);
  expect(cache.freeHostPages).toBe(HOST_PAGES - naive.hostHeld.size);
  expect(cache.freeWindows).toBe(naive.windows.filter((w) => w === undefined).length);
  for (let page = 0; page < PAGES; page++) expect(cache.references(page)).toBe(naive.references(page));
  const byte = new Uint8Array(1);
  let mapped = 0;
  for (const [window, mapping] of naive.windows.entries()) {
    if (mapping === undefined) continue;
    mapped += mapping.length;
    expect(cache.mappedPages(window)).toBe(mapping.length);
    for (const [i, page] of mapping.entries()) {
      expect(cache.pageAt(window, i)).toBe(page);
      const known = naive.bytes.get(page);
      if (known === undefined || naive.flights.get(page) === "written") continue;
      cache.read(window, (i + 1) * PAGE_BYTES - 1, byte);
      expect(byte[0]).toBe(known);
    }
  }
  const shared = naive.held.filter((_, page) => naive.mappings(page) > 1).length;
  expect(cache.stats()).toMatchObject({
    allocatedBytes: (PAGES - naive.freePages) * PAGE_BYTES,
    mappedBytes: mapped * PAGE_BYTES,
    sharedBytes: shared * PAGE_BYTES,
    hostAllocatedBytes: naive.hostHeld.size * PAGE_BYTES,
  });
}

// What matters more is named twice.
const KINDS = `
  open close grow grow map truncate allocate retain release allocateHost
  releaseHost write write zero readHost pageOut pageOut pageIn pageIn settle
`
  .trim()
  .split(/\s+/);

const operation = fc.record({
  kind: fc.constantFrom(...KINDS),
  window: fc.nat(WINDOWS - 1),
  page: fc.nat(PAGES - 1),
  host: fc.nat(HOST_PAGES - 1),
  count: fc.nat(WINDOW_PAGES),
  value: fc.nat(255),
});
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

function apply(cache: KvCache, naive: NaiveCache, copies: Copy[], failures: unknown[], op: Operation): void {
  const { kind, window, page, host, count, value } = op;
  switch (kind) {
    case "open": {
      const full = naive.windows.every((w) => w !== undefined);
      const failed = code(() => {
        const opened = cache.openWindow();
        equal(naive.windows[opened], undefined);
        naive.windows[opened] = [];
      });
      equal(failed, full ? "KVPAGE_OUT_OF_WINDOWS" : "");
      break;
    }
    case "close":
      equal(
        code(() => cache.closeWindow(window)),
        naive.close(window),
      );
      break;
    case "grow": {
      const expected = naive.growth(window, count);
      equal(
        code(() => cache.grow(window, count)),
        expected,
      );
      const mapping = naive.windows[window];
      if (expected !== "" || mapping === undefined) break;
      for (let i = mapping.length; i < count; i++) {
        const fresh = cache.pageAt(window, i);
        equal(naive.references(fresh), 0);
        naive.bytes.delete(fresh);
        mapping.push(fresh);
      }
      break;
    }
    case "map": {
      const pages = Array.from({ length: Math.min(count, 3) }, (_, i) => (page + i * value) % PAGES);
      equal(
        code(() => cache.map(window, Int32Array.from(pages))),
        naive.map(window, pages),
      );
      break;
    }
    case "truncate":
      equal(
        code(() => cache.truncate(window, count)),
        naive.truncate(window, count),
      );
      break;
    case "allocate": {
      const full = naive.freePages === 0;
      const failed = code(() => {
        const fresh = cache.allocate();
        equal(naive.references(fresh), 0);
        naive.bytes.delete(fresh);
        naive.held[fresh] = 1;
      });
      equal(failed, full ? "KVPAGE_OUT_OF_PAGES" : "");
      break;
    }
    case "retain":
      equal(
        code(() => cache.retain(page)),
        naive.retain(page),
      );
      break;
    case "release":
      equal(
        code(() => cache.release(page)),
        naive.release(page),
      );
      break;
    case "allocateHost": {
      const full = naive.hostHeld.size === HOST_PAGES;
      const failed = code(() => {
        const fresh = cache.allocateHost();
        equal(naive.hostHeld.has(fresh), false);
        naive.hostBytes.delete(fresh);
        naive.hostHeld.add(fresh);
      });
      equal(failed, full ? "KVPAGE_OUT_OF_HOST_PAGES" : "");
      break;
    }
    case "releaseHost":
      equal(
        code(() => cache.releaseHost(host)),
        naive.releaseHost(host),
      );
      break;
    case "write":
    case "zero": {
      const byte = kind === "zero" ? 0 : value;
      const bytes = new Uint8Array(PAGE_BYTES).fill(byte);
      const expected = naive.write(page);
      equal(
        code(() => (kind === "zero" ? cache.zero(page) : cache.writePage(page, bytes))),
        expected,
      );
      if (expected === "") naive.bytes.set(page, byte);
      break;
    }
    case "readHost": {
      const bytes = new Uint8Array(PAGE_BYTES);
      const failed = code(() => cache.readHostPage(host, bytes));
      if (!naive.hostHeld.has(host)) equal(failed, "KVPAGE_PAGE_FREE");
      else if (naive.hostFlights.get(host) === "written") equal(failed, "KVPAGE_PAGE_IN_FLIGHT");
      else deepEqual([failed, bytes[0], bytes.at(-1)], ["", ...known(naive.hostBytes.get(host), bytes)]);
      break;
    }
    case "pageOut":
    case "pageIn": {
      const out = kind === "pageOut";
      const length = Math.min(count, 3);
      const pages = Array.from({ length }, (_, i) => (page + i) % PAGES);
      const hostPages = Array.from({ length }, (_, i) => (host + i) % HOST_PAGES);
      const expected = naive.beginCopy(out, pages, hostPages);
      const lists = [Int32Array.from(pages), Int32Array.from(hostPages)] as const;
      const copy = out ? cache.pageOut(lists[0], lists[1]) : cache.pageIn(lists[1], lists[0]);
      const done = copy.then(
        () => void (expected !== "" && failures.push(`succeeded, not ${expected}`)),
        (error: unknown) =>
          void (error instanceof VAttentionError && error.code === expected ? 0 : failures.push(error)),
      );
      if (expected === "") copies.push({ out, pages, hostPages, done });
      break;
    }
    default:
  }
}

function known(value: number | undefined, bytes: Uint8Array): [number, number] {
  return value === undefined ? [bytes[0]!, bytes.at(-1)!] : [value, value];
}

it("does what lists of pages would do, whatever the order of operations and of copies in flight", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 10, maxLength: 120 }), async (operations) => {
      const cache = new KvCache({
        pageBytes: PAGE_BYTES,
        pages: PAGES,
        windows: WINDOWS,
        windowPages: WINDOW_PAGES,
        hostPages: HOST_PAGES,
      });
      const naive = new NaiveCache();
      const copies: Copy[] = [];
      const failures: unknown[] = [];
      try {
        for (const op of operations) {
          // A copy ends only when the event loop turns, hence never between two operations, only here.
          if (op.kind === "settle") {
            await Promise.all(copies.map((copy) => copy.done));
            for (const copy of copies.splice(0)) naive.endCopy(copy);
          } else apply(cache, naive, copies, failures, op);
          compare(cache, naive);
        }
      } finally {
        await cache.close();
      }
      expect(failures).toEqual([]);
    }),
    { numRuns: 400, interruptAfterTimeLimit: 20_000 },
  );
});
