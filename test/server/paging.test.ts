import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { discardTruth } from "@kvpage/paging";
import { makeStories260k, stories260k } from "../support/stories260k.ts";
import { ServerProcess } from "./server-process.ts";

const CONVERSATIONS = 24;
const TURNS = 3;
const ROOM_FOR = 4;
const PAGE_TOKENS = 16;
const ANSWER_TOKENS = 24;

interface Turn {
  readonly text: string;
  readonly tokens: number;
}

type Reuse = "likely" | "unlikely";

/** Four conversations at a time, turn by turn; what a client would send and keep. */
async function converse(
  server: ServerProcess,
  reuse: (conversation: number, turn: number) => Reuse | undefined,
): Promise<Turn[][]> {
  const history = Array.from({ length: CONVERSATIONS }, (_, i) => opening(i));
  const turns: Turn[][] = history.map(() => []);
  for (let turn = 0; turn < TURNS; turn++) {
    for (let first = 0; first < CONVERSATIONS; first += ROOM_FOR) {
      const group = Array.from({ length: ROOM_FOR }, (_, i) => first + i);
      await Promise.all(
        group.map(async (i) => {
          const hint = reuse(i, turn);
          const response = await server.post("/v1/completions", {
            model: "stories260K",
            prompt: history[i],
            max_tokens: ANSWER_TOKENS,
            // Every other conversation is sampled, the rest greedy.
            temperature: i % 2 === 0 ? 0 : 0.9,
            seed: 1000 + i,
            prompt_cache_key: `conversation ${i}`,
            ...(hint === undefined ? {} : { kvpage: { reuse: hint } }),
          });
          const body = (await response.json()) as {
            choices: [{ text: string }];
            usage: { total_tokens: number };
          };
          expect(response.status, JSON.stringify(body)).toBe(200);
          const { text } = body.choices[0];
          turns[i]!.push({ text, tokens: body.usage.total_tokens });
          history[i] += `${text} ${opening(i + turn + 7)}`;
        }),
      );
    }
  }
  return turns;
}

function opening(i: number): string {
  const names = ["Tom", "Lily", "Ben", "Anna", "Max", "Sue", "Tim", "Mia"];
  const things = ["ball", "dog", "tree", "boat", "hat", "bird", "cake"];
  return `One day ${names[i % 8]} saw a big ${things[i % 7]} in the park. ${names[(i + 3) % 8]} said`;
}

/** The bit of each request by the offline optimum: would it let most of the conversation's pages go? */
function oracle(turns: readonly Turn[][], capacity: number): (conversation: number, turn: number) => Reuse {
  const ids: number[] = [];
  const offsets = [0];
  const width = 512 / PAGE_TOKENS;
  for (let turn = 0; turn < TURNS; turn++) {
    for (let i = 0; i < CONVERSATIONS; i++) {
      const pages = Math.ceil(turns[i]![turn]!.tokens / PAGE_TOKENS);
      for (let page = 0; page < pages; page++) ids.push(i * width + page);
      offsets.push(ids.length);
    }
  }
  const trace = {
    pages: CONVERSATIONS * width,
    ids: Uint32Array.from(ids),
    offsets: Uint32Array.from(offsets),
  };
  const { bits } = discardTruth(trace, capacity);
  return (conversation, turn) => {
    const request = turn * CONVERSATIONS + conversation;
    const own = bits.subarray(offsets[request], offsets[request + 1]);
    const ones = own.reduce((sum, bit) => sum + bit, 0);
    return 2 * ones > own.length ? "unlikely" : "likely";
  };
}

describe.skipIf(stories260k.checkpoint.absent)(
  `${CONVERSATIONS} conversations of ${TURNS} turns in the memory of ${ROOM_FOR}`,
  () => {
    let made: Awaited<ReturnType<typeof makeStories260k>>;
    let unpressured: Turn[][];
    let pages: number;

    const serve = async (kvPages: number, ...argv: string[]) =>
      ServerProcess.start([
        "--model",
        made.path,
        "--kv-type",
        "f32",
        "--page-tokens",
        String(PAGE_TOKENS),
        "--kv-memory",
        String(kvPages * PAGE_TOKENS * 1280),
        "--max-sequences",
        String(ROOM_FOR),
        "--threads",
        "1",
        ...argv,
      ]);

    beforeAll(async () => {
      made = await makeStories260k();
      const server = await serve(2000, "--host-memory", "0");
      unpressured = await converse(server, () => undefined);
      expect(await server.metric("kvpage:page_out_total")).toBe(0);
      await server.stop();
      const longest = Math.max(...unpressured.flat().map((turn) => turn.tokens));
      pages = ROOM_FOR * Math.ceil((longest + 1) / PAGE_TOKENS);
    });
    afterAll(() => made.remove());

    it("prints the published text through HTTP", async () => {
      const server = await serve(40, "--host-memory", "0");
      const response = await server.post("/v1/completions", {
        model: "stories260K",
        prompt: "",
        max_tokens: 200,
        temperature: 0,
      });
      const body = (await response.json()) as { choices: [{ text: string }] };
      expect(body.choices[0].text).toBe(readFileSync(stories260k.expectedGreedy200.path, "utf8"));
      await server.stop();
    });

    const policies = ["lru", "flush-when-all-0s", "mark0", "mark-and-predict"];
    const bits = ["oracle", "random", "constant:0", "constant:1"];
    it.each(policies.flatMap((policy) => bits.map((bit) => [policy, bit] as const)))(
      "%s with %s bits: every answer as without pressure",
      async (policy, bit) => {
        const predictor = bit === "oracle" ? "constant:1" : bit;
        const server = await serve(
          pages,
          "--host-memory",
          "64MiB",
          "--policy",
          policy,
          "--predictor",
          predictor,
        );
        const hint = bit === "oracle" ? oracle(unpressured, pages) : () => undefined;
        const turns = await converse(server, hint);
        expect(turns).toEqual(unpressured);
        expect(await server.metric("kvpage:page_out_total", { tier: "host" })).toBeGreaterThan(0);
        expect(await server.metric("kvpage:page_in_total", { tier: "host" })).toBeGreaterThan(0);
        await server.stop();
      },
    );

    it("without a host tier what was dropped is computed again, to the same answers", async () => {
      const server = await serve(pages, "--host-memory", "0");
      expect(await converse(server, () => undefined)).toEqual(unpressured);
      await server.stop();
    });
  },
);
