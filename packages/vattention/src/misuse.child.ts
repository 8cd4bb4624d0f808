// Run by misuse.test.ts in a process of its own: calls everything with anything. Prints the number of calls that
// threw and of those that did not; exits with 1 when something other than a VAttentionError comes out.
import { VAttentionError } from "./errors.ts";
import { KvCache } from "./kv-cache.ts";

const [seed = "1", calls = "10000"] = process.argv.slice(2);
const PAGE_BYTES = KvCache.granularity();
const METHODS = `
  windowAddress openWindow closeWindow mappedPages grow map truncate pageAt
  allocate retain release references allocateHost releaseHost pageOut pageIn
  readPage writePage readHostPage read write zero stats checkIntegrity
`
  .trim()
  .split(/\s+/);

let state = Number(seed) >>> 0;
function below(bound: number): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * bound);
}

const detached = new Int32Array(4);
structuredClone(detached.buffer, { transfer: [detached.buffer] });
const shared = new Int32Array(new SharedArrayBuffer(16));
const empty: unknown = Object.create(null);
const hostile = {
  toString() {
    throw new Error("toString");
  },
};
const numbers = [Number.NaN, Infinity, -Infinity, -1, -0, 0.5, 1e300, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 53];
const values = [
  undefined,
  null,
  true,
  "",
  "0",
  10n,
  Symbol("s"),
  {},
  [],
  [0],
  () => 0,
  /x/,
  new Map(),
  empty,
  hostile,
];
const fakes = [Int32Array.prototype, Uint8Array.prototype].map((prototype): unknown =>
  Object.create(prototype),
);
const proxies = [new Proxy({}, {}), new Proxy(new Int32Array(2), {}), new Proxy(new Uint8Array(2), {})];
const lists = [[-1], [2 ** 31 - 1, 0], [0, 0], []].map((pages) => Int32Array.from(pages));
const arrays = [
  detached,
  shared,
  new Int32Array(1e5),
  new Float64Array(3),
  new Int16Array(2),
  new ArrayBuffer(8),
];
const bytes = [0, 1, PAGE_BYTES, 3 * PAGE_BYTES].map((length) => new Uint8Array(length));
const views = [
  new DataView(new ArrayBuffer(16)),
  new Uint8ClampedArray(PAGE_BYTES),
  Buffer.alloc(PAGE_BYTES),
];
const GARBAGE: readonly unknown[] = [numbers, values, fakes, proxies, lists, arrays, bytes, views].flat();

/** Half of the time what the method could want, so that state builds up. */
function argument(): unknown {
  switch (below(8)) {
    case 0:
    case 1:
      return below(9);
    case 2:
      return Int32Array.from({ length: below(4) }, () => below(9) - (below(20) === 0 ? 2 : 0));
    case 3:
      return new Uint8Array(below(3) * PAGE_BYTES);
    default:
      return GARBAGE[below(GARBAGE.length)];
  }
}

const SIZES = ["pageBytes", "pages", "windows", "windowPages", "hostPages", "backend"] as const;
function options(): unknown {
  if (below(8) === 0) return GARBAGE[below(GARBAGE.length)];
  const wanted: Record<string, unknown> = {
    pageBytes: PAGE_BYTES,
    pages: 8,
    windows: 4,
    windowPages: 6,
    hostPages: 4,
  };
  if (below(2) === 0) wanted[SIZES[below(SIZES.length)]!] = GARBAGE[below(GARBAGE.length)];
  return wanted;
}

function fail(what: string, error: unknown): never {
  console.error(what, error);
  process.exit(1);
}

let refused = 0;
let done = 0;
function refuse(what: string, error: unknown): void {
  refused++;
  if (!(error instanceof VAttentionError) || error.code === "KVPAGE_INTEGRITY") fail(what, error);
}

function create(): KvCache {
  for (;;) {
    try {
      return new KvCache(options() as ConstructorParameters<typeof KvCache>[0]);
    } catch (error) {
      refuse("constructor", error);
    }
  }
}

let cache = create();
for (let i = 0; i < Number(calls); i++) {
  const method = METHODS[below(METHODS.length)]!;
  const call = `call ${i}, ${method}`;
  try {
    const bound = (cache as unknown as Record<string, (...args: unknown[]) => unknown>)[method]!;
    const result = bound.apply(cache, Array.from({ length: below(4) }, argument));
    if (result instanceof Promise) result.catch((error: unknown) => refuse(call, error));
    done++;
  } catch (error) {
    refuse(call, error);
  }
  try {
    if (below(3) === 0) cache.checkIntegrity();
  } catch (error) {
    refuse(`${call}, then checkIntegrity`, error);
  }
  // Disposed caches are called for a while too: every call must be refused, and copies in flight be safe.
  if (below(100) === 0) cache.dispose();
  if (below(50) === 0) await new Promise((resolve) => setImmediate(resolve));
  if (below(150) === 0) {
    cache.dispose();
    cache = create();
  }
}
await cache.close();
console.log(JSON.stringify({ refused, done }));
