import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { main } from "./command-line.ts";

/** A zip archive: x1 and x22 hold a, b, c, a; y3 holds a. */
const archive =
  "UEsDBBQAAAAAAAAAIVAx+KhqCAAAAAgAAAACAAAAeDFhCmIKYwphClBLAwQUAAAAAAAAACFQMfioaggAAAAIAAAAAwAAAHgy" +
  "MmEKYgpjCmEKUEsDBBQAAAAAAAAAIVAHoerdAgAAAAIAAAACAAAAeTNhClBLAQIUABQAAAAAAAAAIVAx+KhqCAAAAAgAAAAC" +
  "AAAAAAAAAAAAAAAAAAAAAAB4MVBLAQIUABQAAAAAAAAAIVAx+KhqCAAAAAgAAAADAAAAAAAAAAAAAAAAACgAAAB4MjJQSwEC" +
  "FAAUAAAAAAAAACFQB6Hq3QIAAAACAAAAAgAAAAAAAAAAAAAAAABRAAAAeTNQSwUGAAAAAAMAAwCRAAAAcwAAAAAA";

let folder: string;
let ids: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "kvpage-replay-"));
  ids = file("abc.txt", "a\nb\nc\na\nb\nc\na\nb\nc\n");
});
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

async function replay(...args: string[]): Promise<{ status: number; out: string; error: string }> {
  let out = "";
  let error = "";
  const status = await main(args, {
    out: (text) => (out += text),
    error: (text) => (error += text),
    showsProgress: false,
  });
  return { status, out, error };
}

async function rows(...args: string[]): Promise<Record<string, unknown>[]> {
  const { out, error } = await replay("run", "--json", ...args);
  expect(error).toBe("");
  return out
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

describe("run --json", () => {
  it("has exactly the documented fields", async () => {
    const [row] = await rows(
      "--trace",
      ids,
      "--policy",
      "flush-when-all-0s",
      "--predictor",
      "constant:0",
      "--capacity",
      "2",
    );
    const names =
      "trace format policy predictor capacity seed requests accesses distinct faults hits hitRatio prefixHitRatio " +
      "opt lru gapClosed eta0 eta1 bound boundHolds seconds loadSeconds requestsPerSecond";
    expect(Object.keys(row!)).toEqual(names.split(" "));
    expect(row).toMatchObject({
      trace: ids,
      format: "ids",
      policy: "flush-when-all-0s",
      predictor: "constant:0",
      capacity: 2,
      seed: null,
      requests: 9,
      accesses: 9,
      distinct: 3,
      faults: 9,
      hits: 0,
      hitRatio: 0,
      opt: 6,
      lru: 9,
      gapClosed: 0,
      eta0: 4,
      eta1: 0,
      bound: 10,
      boundHolds: true,
    });
  });

  it("runs every policy with every predictor and seed that makes a difference", async () => {
    const all = await rows(
      "--trace",
      ids,
      "--predictor",
      "oracle,flip:0.5",
      "--capacity",
      "2,100%",
      "--seed",
      "1,2",
    );
    const at2 = all
      .filter((row) => row["capacity"] === 2)
      .map((row) => [row["policy"], row["predictor"], row["seed"]]);
    expect(at2).toEqual([
      ["lru", null, null],
      ["flush-when-all-0s", "oracle", null],
      ["flush-when-all-0s", "flip:0.5", 1],
      ["flush-when-all-0s", "flip:0.5", 2],
      ["mark0", "oracle", 1],
      ["mark0", "oracle", 2],
      ["mark0", "flip:0.5", 1],
      ["mark0", "flip:0.5", 2],
      ["mark-and-predict", "oracle", 1],
      ["mark-and-predict", "oracle", 2],
      ["mark-and-predict", "flip:0.5", 1],
      ["mark-and-predict", "flip:0.5", 2],
      ["lfd", null, null],
    ]);
    const whole = all.filter((row) => row["capacity"] === 3);
    expect(whole.map((row) => [row["faults"], row["gapClosed"]])).toEqual(whole.map(() => [3, null]));
  });

  it("takes shares of live pages and bytes", async () => {
    // Each of a, b and c is live for six of the nine requests: L = 2.
    const all = await rows(
      "--trace",
      ids,
      "--policy",
      "lru",
      "--capacity",
      "0.5L,8KiB",
      "--page-bytes",
      "4096",
    );
    expect(all.map((row) => row["capacity"])).toEqual([1, 2]);
  });

  it("adds up the members of an archive that differ in digits alone", async () => {
    const path = file("pack.zip", Buffer.from(archive, "base64"));
    const all = await rows("--trace", path, "--policy", "lru", "--capacity", "100%");
    expect(all).toMatchObject([
      { trace: `${path}!x*`, requests: 8, distinct: 6, faults: 6, capacity: 3 },
      { trace: `${path}!y*`, requests: 1, distinct: 1, faults: 1, capacity: 1 },
    ]);
    expect(await rows("--trace", path, "--member", "y*", "--policy", "lru", "--capacity", "1")).toHaveLength(
      1,
    );
  });

  it("serves requests whole or page by page", async () => {
    const path = file("m.jsonl", '{"timestamp":0,"hash_ids":[1,2]}\n{"timestamp":1,"hash_ids":[1,2,3]}\n');
    const how = async (...serve: string[]) => {
      const [row] = await rows("--trace", path, "--policy", "mark0", "--capacity", "3", ...serve);
      return [
        row!["requests"],
        row!["accesses"],
        row!["faults"],
        row!["prefixHitRatio"],
        row!["bound"] !== null,
      ];
    };
    expect(await how()).toEqual([2, 5, 3, null, true]);
    expect(await how("--serve", "requests")).toEqual([2, 5, 3, 0.4, false]);
  });
});

describe("for people", () => {
  it("run prints a table with a title", async () => {
    const { status, out } = await replay("run", "--trace", ids, "--capacity", "2");
    expect(status).toBe(0);
    expect(out).toContain(`${ids} (ids): 9 requests, 9 accesses, 3 pages`);
    for (const name of ["lru", "flush-when-all-0s", "mark0", "mark-and-predict", "lfd", "gap closed"]) {
      expect(out).toContain(name);
    }
  });

  it("info says what a trace is like", async () => {
    expect((await replay("info", "--trace", ids)).out).toContain("largest request");
    const { out } = await replay("info", "--trace", ids, "--json");
    expect(JSON.parse(out)).toMatchObject({ requests: 9, distinct: 3, largestRequest: 1, meanLivePages: 2 });
  });

  it("--help exits with 0", async () => {
    const { status, out } = await replay("run", "--help");
    expect(status).toBe(0);
    expect(out).toContain("--merge-seed");
  });
});

describe("what cannot be used: status 1 and a message that names it", () => {
  it.each([
    [["run", "--capacity", "2"], "--trace"],
    [["run", "--trace", "IDS"], "--capacity"],
    [["run", "--trace", "IDS", "--capacity", "2", "--bogus"], "--bogus"],
    [["run", "--trace", "IDS", "--capacity", "0"], "--capacity"],
    [["run", "--trace", "IDS", "--capacity", "2.5"], "--capacity"],
    [["run", "--trace", "IDS", "--capacity", "1GiB"], "--page-bytes"],
    [["run", "--trace", "IDS", "--capacity", "1KiB", "--page-bytes", "4096"], "--capacity"],
    [["run", "--trace", "IDS", "--capacity", "2", "--policy", "lfu"], "--policy"],
    [["run", "--trace", "IDS", "--capacity", "2", "--predictor", "flip:2"], "--predictor"],
    [["run", "--trace", "IDS", "--capacity", "2", "--seed", "x"], "--seed"],
    [["run", "--trace", "IDS", "--capacity", "2", "--format", "csv"], "--format"],
    [["run", "--trace", "IDS", "--capacity", "2", "--sessions", "0"], "--sessions"],
    [["run", "--trace", "IDS", "--capacity", "2", "--serve", "never"], "--serve"],
    [["run", "--trace", "/absent", "--capacity", "2"], "/absent"],
    [["simulate"], "simulate"],
  ])("%j", async (args, named) => {
    const { status, out, error } = await replay(...args.map((arg) => (arg === "IDS" ? ids : arg)));
    expect(status).toBe(1);
    expect(out).toBe("");
    expect(error).toContain(named);
  });

  it("a request larger than the cache, and a bad line", async () => {
    const path = file(
      "large.jsonl",
      '{"timestamp":0,"hash_ids":[1,2]}\n{"timestamp":1,"hash_ids":[3,"x"]}\n',
    );
    expect((await replay("run", "--trace", path, "--capacity", "2")).error).toBe(
      `kvpage-replay: ${path}:2: hash_ids[1] is "x"; expected an integer ≥ 0\n`,
    );
    const fine = file("fine.jsonl", '{"timestamp":0,"hash_ids":[1,2]}\n');
    const { status, error } = await replay("run", "--trace", fine, "--capacity", "1", "--serve", "requests");
    expect([status, error]).toEqual([
      1,
      "kvpage-replay: --capacity: capacity is 1; request 0 touches 2 pages\n",
    ]);
  });
});
