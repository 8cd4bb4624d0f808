// Published totals on traces that are not in the repository: they are looked for beside it, in ../shared/traces.
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseCapacity } from "./capacity.ts";
import { describe as describeTrace } from "./info.ts";
import { loadFamilies } from "./load.ts";
import { measure } from "./measure.ts";
import type { Result } from "./result.ts";
import { run } from "./run.ts";
import { sharedFile } from "../../../test/support/shared.ts";

const { path: traces, absent } = sharedFile("traces");

const base = {
  format: "auto",
  serve: "auto",
  predictors: ["oracle"],
  pageBytes: undefined,
  seeds: [1],
  onProgress: () => {},
} as const;

async function results(
  trace: string,
  policies: readonly string[],
  capacities: readonly string[],
  member?: (path: string) => boolean,
): Promise<Result[]> {
  const rows: Result[] = [];
  const options = {
    ...base,
    member,
    traces: [join(traces, trace)],
    policies,
    capacities: capacities.map(parseCapacity),
  };
  for await (const row of run(options)) rows.push(row);
  return rows;
}

describe.skipIf(absent)("published totals (skipped where no traces lie beside the repository)", () => {
  const archive = "learned-caching/brightkite-citi.zip";
  const all = ["lru", "flush-when-all-0s", "mark0", "mark-and-predict", "lfd"];

  it("BrightKite, k = 10, 100 files: OPT, LRU, clean pages", async () => {
    const rows = await results(archive, all, ["10"], (path) => path.startsWith("data/bk"));
    expect(rows.map((row) => row.faults)).toEqual([43883, 33990, 33990, 41648, 33990]);
    expect(rows[0]).toMatchObject({ requests: 210_000, accesses: 210_000, opt: 33990, lru: 43883 });
  });

  it("Citi Bike, k = 100, 12 files: OPT, LRU, clean pages", async () => {
    const rows = await results(archive, all, ["100"], (path) => path.startsWith("data/citi"));
    expect(rows.map((row) => row.faults)).toEqual([194423, 105192, 105192, 168506, 105192]);
    expect(rows[0]).toMatchObject({ requests: 300_000, opt: 105192, lru: 194423 });
  });

  it.each([
    [
      "mooncake/conversation_trace.jsonl",
      { requests: 12031, accesses: 288500, distinct: 182790 },
      [".0523", ".1954", ".2784", ".3535", ".3631"],
      [".2464", ".3664", ".3664", ".3664", ".3664"],
    ],
    [
      "mooncake/synthetic_trace.jsonl",
      { requests: 3993, accesses: 121877, distinct: 43924 },
      [".0343", ".1548", ".2598", ".4434", ".5888"],
      [".1852", ".3955", ".5063", ".6260", ".6396"],
    ],
  ])("%s: hit ratios of LRU and OPT", async (trace, facts, lru, opt) => {
    const rows = await results(trace, ["lru", "lfd"], ["1%", "5%", "10%", "25%", "50%"]);
    expect(rows[0]).toMatchObject(facts);
    const ratios = (policy: string) =>
      rows.filter((row) => row.policy === policy).map((row) => row.hitRatio.toFixed(4).slice(1));
    expect(ratios("lru")).toEqual(lru);
    expect(ratios("lfd")).toEqual(opt);
  });

  // Misses of LRU and OPT by cache pages.
  it.each([
    {
      merge: { sessions: 50, copies: 8 },
      facts: { requests: 28308, accesses: 6972246, distinct: 272068, checksum: 1809220102 },
      end: 49260,
      live: 12117,
      misses: [
        [2000, 4590511, 3008187],
        [3000, 3108765, 1878078],
        [4000, 2132809, 1234951],
        [6000, 1097273, 628775],
        [8000, 667352, 418163],
        [12000, 428461, 297269],
      ],
    },
    {
      merge: { sessions: 200, copies: 16 },
      facts: { requests: 50071, accesses: 12501509, distinct: 500640, checksum: 896588948 },
      end: 22339,
      live: 46291,
      misses: [
        [8000, 8283379, 4179453],
        [16000, 3440799, 1732287],
        [24000, 1786987, 927198],
        [32000, 1121537, 671081],
        [48000, 770380, 520444],
      ],
    },
  ])("Claude Code sessions, $merge", { timeout: 240_000 }, async ({ merge, facts, end, live, misses }) => {
    const path = join(traces, "claude-code-sessions/dev.jsonl.gz");
    const [family] = await loadFamilies(path, { ...base, merge });
    const info = describeTrace(family!);
    expect(info).toMatchObject({ ...facts, largestRequest: 1719 });
    expect(Math.floor(info.endSeconds!)).toBe(end);
    expect(Math.round(info.meanLivePages)).toBe(live);
    const [workload] = family!.members;
    for (const [capacity, lru, opt] of misses) {
      const of = (policy: string) =>
        measure(workload!, capacity!, {
          policy,
          predictor: policy.startsWith("l") ? null : "oracle",
          seed: 1,
        });
      for (const policy of ["lru", "lfd"]) {
        const { faults, prefixHits, accesses } = of(policy);
        expect([policy, capacity, faults]).toEqual([policy, capacity, policy === "lru" ? lru : opt]);
        // Both keep prefixes whole: what hits is usable.
        expect(prefixHits).toBe(accesses - faults);
      }
      for (const policy of ["flush-when-all-0s", "mark0"])
        expect([policy, of(policy).faults]).toEqual([policy, opt]);
    }
  });
});
