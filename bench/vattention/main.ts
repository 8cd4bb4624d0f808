// What the allocator costs: nanoseconds of its calls, and the speed of copies to the host tier and back beside a plain
// copy (memcpy through Buffer.copy) of the same bytes on the main thread, in alternating rounds.
//   npm run bench -- vattention [--rounds 7] [--json]
import { parseArgs } from "node:util";
import { KvCache } from "@kvpage/vattention";
import { machine } from "../support/machine.ts";
import { median, spread } from "../support/statistics.ts";

const { values: flags } = parseArgs({
  args: process.argv.slice(2).filter((arg) => arg !== "--"),
  options: { rounds: { type: "string", default: "7" }, json: { type: "boolean", default: false } },
  strict: false,
});
const rounds = Number(flags.rounds);
if (!Number.isSafeInteger(rounds) || rounds < 1)
  throw new Error(`--rounds is ${rounds}; expected at least 1`);

const COPY_BYTES = 256 * 2 ** 20;

/** Nanoseconds of one of `calls` calls. */
function time(calls: number, run: () => void): number {
  const started = process.hrtime.bigint();
  for (let i = 0; i < calls; i++) run();
  return Number(process.hrtime.bigint() - started) / calls;
}

async function gigabytesPerSecond(run: () => Promise<void> | void): Promise<number> {
  const started = performance.now();
  await run();
  return COPY_BYTES / 1e6 / (performance.now() - started);
}

/** Samples by name, each a median's worth of one round. */
async function measure(pageBytes: number): Promise<Map<string, number[]>> {
  const samples = new Map<string, number[]>();
  const add = (name: string, value: number) => samples.set(name, [...(samples.get(name) ?? []), value]);
  const pages = COPY_BYTES / pageBytes;
  const cache = new KvCache({ pageBytes, pages, windows: 8, windowPages: pages, hostPages: pages });
  const source = Buffer.alloc(COPY_BYTES, 1);
  const target = Buffer.alloc(COPY_BYTES, 2);

  // The first round touches the host tier for the first time and warms everything else; it isn't counted.
  for (let round = -1; round < rounds; round++) {
    const window = cache.openWindow();
    const results: [string, number][] = [];
    results.push(["open and close a window, ns", time(10_000, () => cache.closeWindow(cache.openWindow()))]);
    cache.grow(window, 1);
    results.push(["grow, nothing missing, ns", time(100_000, () => cache.grow(window, 1))]);
    let length = 1;
    results.push(["grow by one page, ns", time(pages - 1, () => cache.grow(window, ++length))]);
    const all = Int32Array.from({ length: pages }, (_, i) => cache.pageAt(window, i));
    for (const page of all) cache.retain(page);
    results.push(["truncate by one page, ns", time(pages - 1, () => cache.truncate(window, --length))]);
    cache.truncate(window, 0);
    const perPage = (run: () => void) => time(1, run) / pages;
    results.push(["map all pages in one call, ns per page", perPage(() => cache.map(window, all))]);
    results.push(["unmap all pages in one call, ns per page", perPage(() => cache.truncate(window, 0))]);
    const backwards = all.toReversed();
    results.push(["map all pages in reverse, ns per page", perPage(() => cache.map(window, backwards))]);
    cache.closeWindow(window);

    const hostPages = all.map(() => cache.allocateHost());
    const marked = all[pages >> 1]!;
    const mark = target.subarray(0, pageBytes).fill(round + 3);
    cache.writePage(marked, mark);
    results.push(["pageOut, GB/s", await gigabytesPerSecond(() => cache.pageOut(all, hostPages))]);
    cache.zero(marked);
    results.push(["Buffer.copy, GB/s", await gigabytesPerSecond(() => void source.copy(target))]);
    results.push(["pageIn, GB/s", await gigabytesPerSecond(() => cache.pageIn(hostPages, all))]);
    const found = Buffer.alloc(pageBytes);
    cache.readPage(marked, found);
    if (!found.equals(Buffer.alloc(pageBytes, round + 3)))
      throw new Error("the bytes did not survive the host tier");
    for (const page of all) cache.release(page);
    for (const page of hostPages) cache.releaseHost(page);
    if (round >= 0) for (const [name, value] of results) add(name, value);
  }
  await cache.close();
  return samples;
}

console.log(
  flags.json === true ? JSON.stringify({ machine: machine(), rounds }) : `${machine()}; ${rounds} rounds`,
);
for (const pageBytes of [64 * 1024, 2 * 2 ** 20]) {
  const samples = await measure(pageBytes);
  if (flags.json !== true) console.log(`\npages of ${pageBytes / 1024} KiB: median (range)`);
  for (const [name, values] of samples) {
    const digits = name.endsWith("GB/s") ? 2 : 0;
    if (flags.json === true) console.log(JSON.stringify({ pageBytes, name, median: median(values), values }));
    else console.log(`  ${name.padEnd(42)}${spread(values, digits)}`);
  }
}
