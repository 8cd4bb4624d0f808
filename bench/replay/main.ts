// Requests per second of each policy on a Zipf trace, beside LRU written on a Map, in alternating rounds.
//   npm run bench -- replay [--requests 2000000] [--capacity 10000] [--rounds 3] [--full] [--json]
// --full: the 20,000,000 requests whose distinct ids, SHA-256 and miss ratios are known and checked.
import { createHash } from "node:crypto";
import { parseArgs } from "node:util";
import {
  bitMeaning,
  createPolicy,
  createPredictor,
  policyNames,
  predictAll,
  simulate,
  singlePageTrace,
} from "@kvpage/paging";
import { machine } from "../support/machine.ts";
import { median, spread } from "../support/statistics.ts";
import { mapLruMisses } from "./map-lru.ts";
import { zipfRequests } from "./zipf.ts";

const { values: flags } = parseArgs({
  args: process.argv.slice(2).filter((arg) => arg !== "--"),
  options: {
    requests: { type: "string", default: "2000000" },
    capacity: { type: "string", default: "10000" },
    rounds: { type: "string", default: "3" },
    full: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
  strict: false,
});
const full = flags.full === true;
const requests = full ? 20_000_000 : positive("--requests", flags.requests);
const capacity = positive("--capacity", flags.capacity);
const rounds = positive("--rounds", flags.rounds);
const universe = 1_000_000;

function positive(flag: string, text: unknown): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new Error(`${flag} is ${value}; expected at least 1`);
  return value;
}

function check(what: string, found: unknown, expected: unknown): void {
  if (found !== expected) throw new Error(`${what} is ${String(found)}; expected ${String(expected)}`);
}

/** What is published of this trace; the ratios of misses are libCacheSim's. */
function checkTrace(ids: Uint32Array): void {
  if (requests >= 8)
    check("the beginning", ids.subarray(0, 8).join(" "), "4665 1111 634366 3801 257 393 3 19");
  if (!full) return;
  check("the number of distinct ids", new Set(ids).size, 914_046);
  const bytes = new Uint8Array(ids.buffer);
  const digest = "9e51a64cad89117c1b037a4e52914ec49aeba1754b1cb456fc7cbe192f4a8211";
  check("the SHA-256", createHash("sha256").update(bytes).digest("hex"), digest);
}

const published: Readonly<Record<string, Readonly<Record<number, string>>>> = {
  lru: { 10_000: "0.4146", 100_000: "0.2215" },
  lfd: { 10_000: "0.2807", 100_000: "0.1283" },
};

const ids = zipfRequests(requests, universe, 1);
checkTrace(ids);
const trace = singlePageTrace(ids, universe);
const sizes = { capacity, pages: universe };
const bits = predictAll(createPredictor("recency", sizes), ids);

const rival = "LRU on a Map";
const contestants = new Map<string, () => number>([[rival, () => mapLruMisses(ids, capacity)]]);
for (const name of policyNames) {
  const own = bitMeaning(name) === "none" ? 1 : bits;
  contestants.set(name, () => simulate(trace, createPolicy(name, sizes), own).faults);
}

const misses = new Map<string, number>();
const rates = new Map<string, number[]>([...contestants.keys()].map((name) => [name, []]));
// The first round warms up and isn't counted.
for (let round = -1; round < rounds; round++) {
  for (const [name, run] of contestants) {
    const started = performance.now();
    misses.set(name, run());
    const rate = requests / 1000 / (performance.now() - started);
    if (round >= 0) rates.get(name)!.push(rate);
  }
}
check("the rival's misses", misses.get(rival), misses.get("lru"));
if (full) {
  for (const [name, ratios] of Object.entries(published)) {
    const ratio = ratios[capacity];
    if (ratio !== undefined)
      check(`the miss ratio of ${name}`, (misses.get(name)! / requests).toFixed(4), ratio);
  }
}

const rows = Array.from(rates, ([name, samples]) => ({
  benchmark: "replay",
  policy: name,
  requests,
  capacity,
  missRatio: misses.get(name)! / requests,
  millionRequestsPerSecond: median(samples),
  samples,
}));
if (flags.json === true) {
  for (const row of rows) console.log(JSON.stringify({ machine: machine(), ...row }));
} else {
  console.log(machine());
  console.log(
    `Zipf, ${requests} requests of ${universe} ids, ${capacity} pages; million requests/s, ${rounds} rounds`,
  );
  for (const { policy, missRatio, samples } of rows) {
    console.log(`${policy.padEnd(20)} ${spread(samples, 2).padStart(20)}   misses ${missRatio.toFixed(4)}`);
  }
}
