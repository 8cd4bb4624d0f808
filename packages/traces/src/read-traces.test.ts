import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { strToU8, zipSync } from "fflate";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ReadOptions, readTraces, type Trace, type TraceError } from "./index.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "kvpage-traces-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

async function all(path: string, options?: ReadOptions): Promise<Trace[]> {
  const traces: Trace[] = [];
  for await (const trace of readTraces(path, options)) traces.push(trace);
  return traces;
}

async function refusal(path: string, options?: ReadOptions): Promise<{ code: string; message: string }> {
  try {
    await all(path, options);
  } catch (error) {
    const { code, message } = error as TraceError;
    return { code, message: message.replace(folder, "") };
  }
  return { code: "none", message: "" };
}

function requests({ ids, offsets }: Trace): number[][] {
  return Array.from({ length: offsets.length - 1 }, (_, r) => [...ids.subarray(offsets[r], offsets[r + 1])]);
}

const mooncake = [
  '{"timestamp": 0, "input_length": 1000, "output_length": 5, "hash_ids": [7, 9]}',
  '{"timestamp": 3000, "input_length": 1500, "output_length": 5, "hash_ids": [7, 9, 4]}',
];

function session(id: string, entries: readonly object[]): string {
  return JSON.stringify({ id, block_size: 64, requests: entries });
}

describe("ids", () => {
  it("numbers words in the order of their first use", async () => {
    const [trace] = await all(file("words.txt", "b\na\r\n\nb\nc"));
    expect(trace).toMatchObject({ format: "ids", pages: 3 });
    expect(requests(trace!)).toEqual([[0], [1], [0], [2]]);
  });

  it("refuses two words on a line, naming it", async () => {
    const path = file("two.txt", "a\nb c\n");
    expect(await refusal(path)).toEqual({
      code: "KVPAGE_TRACE_MALFORMED",
      message: '/two.txt:2: the id is "b c"; expected one word a line',
    });
  });

  it("joins lines and characters that fall between two reads", async () => {
    const words = Array.from({ length: 300_000 }, (_, i) => `häuschen-${i % 1000}`);
    const [trace] = await all(file("long.txt", words.join("\n")));
    expect(trace!.pages).toBe(1000);
    expect(trace!.ids.length).toBe(300_000);
    expect(trace!.ids.every((id, i) => id === i % 1000)).toBe(true);
  });
});

describe("mooncake", () => {
  it("makes a request of each line", async () => {
    const [trace] = await all(file("m.jsonl", mooncake.join("\n")));
    expect(trace).toMatchObject({ format: "mooncake", pages: 3 });
    expect(requests(trace!)).toEqual([
      [0, 1],
      [0, 1, 2],
    ]);
    expect([...trace!.timesMs!]).toEqual([0, 3000]);
  });

  it.each([
    ["not json", "the line", "expected one JSON object"],
    ['{"timestamp": 0}', "hash_ids is missing", "expected an array"],
    ['{"timestamp": 0, "hash_ids": [1, -2]}', "hash_ids[1] is -2", "expected an integer ≥ 0"],
    ['{"timestamp": 0, "hash_ids": [1, 1]}', "hash_ids[1] is 1", "expected an id once per request"],
    ['{"timestamp": "x", "hash_ids": [1]}', 'timestamp is "x"', "expected a number ≥ 0"],
  ])("refuses %s", async (line, what, expected) => {
    const { code, message } = await refusal(file("bad.jsonl", `${mooncake[0]}\n${line}\n`));
    expect(code).toBe("KVPAGE_TRACE_MALFORMED");
    expect(message).toContain("/bad.jsonl:2: ");
    expect(message).toContain(what);
    expect(message).toContain(expected);
  });
});

describe("claude-code", () => {
  // Pages of two blocks: the page is known by its last block.
  const parent = { t: 1, api_time: 2, type: "n", hash_ids: [1, 2, 3, 4, 5] };
  const child = { t: 0.5, api_time: 0.25, type: "n", hash_ids: [10, 11] };
  const agent = { t: 1, type: "subagent", requests: [child] };
  const later = { t: 20, type: "n", hash_ids: [1, 2, 3, 4, 5, 6] };
  const text = session("a", [parent, agent, later]);

  it("flattens a session by completion time and cuts it into pages", async () => {
    const options = { pageTokens: 128, merge: { sessions: 1 } };
    const [trace] = await all(file("s.jsonl", `${text}\n${text}\n`), options);
    // The child completes at 1.75 s, the parent at 3 s; the stream ends when the second session is over.
    const first = [[0], [1, 2], [1, 2, 3]];
    const second = [[4], [5, 6]];
    expect(requests(trace!)).toEqual([...first, ...second]);
    const start = trace!.timesMs![0]! - 1750;
    expect([...trace!.timesMs!].map((time) => time - start)).toEqual([1750, 3000, 20_000, 21_750, 23_000]);
    expect(trace!.merge!.endMs - start).toBe(40_000);
  });

  it.each([
    [[{ t: 0, hash_ids: "x" }], 'requests[0].hash_ids is "x"; expected an array'],
    [[{ hash_ids: [] }], "requests[0].t is missing; expected a number ≥ 0"],
    [[7], "requests[0] is 7; expected an object"],
    [
      [{ t: 0, hash_ids: [1, 2, 3, 2, 2, 2, 2, 2, 4, 4, 4, 4, 4, 4, 4, 2] }],
      "requests[0].hash_ids[15] is 2; expected an id once per request",
    ],
    [
      [{ type: "subagent", t: 0, requests: [{ t: -1 }] }],
      "requests[0].requests[0].t is -1; expected a number ≥ 0",
    ],
  ])("refuses %j", async (entries, expected) => {
    const { code, message } = await refusal(file("bad.jsonl", session("b", entries as object[])));
    expect(code).toBe("KVPAGE_TRACE_MALFORMED");
    expect(message).toBe(`/bad.jsonl:1: ${expected}`);
  });

  it("refuses pages that are no multiple of a block", async () => {
    const { code, message } = await refusal(file("s.jsonl", text), { pageTokens: 100 });
    expect(code).toBe("KVPAGE_INVALID_ARGUMENT");
    expect(message).toContain("pageTokens is 100; expected a multiple of ");
  });

  it.each([{ sessions: 0 }, { copies: 1.5 }])("refuses to merge by %j", async (merge) => {
    expect((await refusal(file("s.jsonl", text), { merge })).code).toBe("KVPAGE_INVALID_ARGUMENT");
  });
});

describe("containers", () => {
  it("reads gzip, whatever the name", async () => {
    const [trace] = await all(file("packed", gzipSync(mooncake.join("\n"))));
    expect(trace!.format).toBe("mooncake");
  });

  it("reads each member of a zip archive, or those that are asked for", async () => {
    const archive = zipSync({
      d: { "a1.txt": strToU8("x\ny\nx"), "b1.jsonl": strToU8(mooncake.join("\n")) },
    });
    const path = file("pack.zip", archive);
    const traces = await all(path);
    expect(traces.map(({ name, format }) => [name.replace(folder, ""), format])).toEqual([
      ["/pack.zip!d/a1.txt", "ids"],
      ["/pack.zip!d/b1.jsonl", "mooncake"],
    ]);
    expect((await all(path, { member: (member) => member.endsWith(".jsonl") })).length).toBe(1);
  });

  it("says why it cannot read", async () => {
    expect((await refusal(join(folder, "absent"))).code).toBe("KVPAGE_TRACE_UNREADABLE");
    const truncated = gzipSync(mooncake.join("\n")).subarray(0, 40);
    expect((await refusal(file("cut.gz", truncated))).code).toBe("KVPAGE_TRACE_UNREADABLE");
    expect((await refusal(file("empty.txt", ""))).code).toBe("KVPAGE_TRACE_MALFORMED");
    expect((await refusal(file("prose.md", "# A title\n"))).code).toBe("KVPAGE_TRACE_FORMAT");
    const zstd = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0);
    expect((await refusal(file("z.zst", zstd))).code).toBe("KVPAGE_TRACE_FORMAT");
    expect((await refusal(file("m.jsonl", mooncake[0]!), { format: "csv" as never })).code).toBe(
      "KVPAGE_INVALID_ARGUMENT",
    );
  });
});
