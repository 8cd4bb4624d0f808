import { afterEach, describe, expect, it } from "vitest";
import { Engine, type EngineSettings } from "./engine.ts";
import type { GenerationRequest } from "./request.ts";
import { random } from "../simulation/random.ts";
import { SimulatedMemory } from "../simulation/simulated-memory.ts";
import { expectedTokens, SimulatedModel } from "../simulation/simulated-model.ts";

interface Setup extends Partial<EngineSettings> {
  readonly pages: number;
  readonly hostPages: number;
  readonly seed?: number;
  readonly copyFailure?: number;
  readonly stepFailure?: number;
}

const PAGE_TOKENS = 8;
const open: Engine[] = [];

function start(setup: Setup): { engine: Engine; model: SimulatedModel } {
  const { seed = 1, maxSequences = 8, contextTokens = 256 } = setup;
  const plan = {
    pageTokens: PAGE_TOKENS,
    rowBytes: 64,
    pageBytes: 64 * PAGE_TOKENS,
    pages: setup.pages,
    hostPages: setup.hostPages,
    windows: 2 * maxSequences,
    windowPages: contextTokens / PAGE_TOKENS,
  };
  const memory = new SimulatedMemory({ plan, seed, copyFailure: setup.copyFailure ?? 0 });
  const model = new SimulatedModel(memory, seed, setup.stepFailure);
  const engine = new Engine({ stepTokens: 32, ...setup, contextTokens, maxSequences, model, memory, plan });
  open.push(engine);
  return { engine, model };
}

afterEach(async () => {
  for (const engine of open.splice(0)) await engine.close();
});

function prompt(length: number, seed: number): Int32Array {
  const next = random(seed);
  return Int32Array.from({ length }, () => 1 + Math.floor(next() * 999));
}

async function expectAnswer(engine: Engine, request: GenerationRequest): Promise<Int32Array> {
  const result = await engine.generate(request);
  const expected = expectedTokens(request.prompt, request.maxTokens, request.sampling?.seed ?? 0n);
  expect([...result.tokens]).toEqual(expected);
  engine.checkIntegrity();
  return result.tokens;
}

/** Conversations of several turns, all at once; every answer is checked. */
async function converse(engine: Engine, conversations: number, turns: number, seed: number): Promise<void> {
  const next = random(seed);
  const one = async (id: number) => {
    let history = prompt(5 + Math.floor(next() * 30), 1000 * seed + id);
    for (let turn = 0; turn < turns; turn++) {
      const answer = await expectAnswer(engine, {
        prompt: history,
        maxTokens: 1 + Math.floor(next() * 20),
        ...(id % 3 === 0 ? {} : { session: `s${id}` }),
        ...(id % 4 === 1 ? { reuse: next() < 0.5 ? ("likely" as const) : ("unlikely" as const) } : {}),
      });
      history = Int32Array.from([...history, ...answer, ...prompt(1 + Math.floor(next() * 9), id + turn)]);
    }
  };
  await Promise.all(Array.from({ length: conversations }, (_, id) => one(id)));
}

describe("one request", () => {
  it("answers as the model does, whatever the chunks of its prefill", async () => {
    const { engine } = start({ pages: 32, hostPages: 0 });
    await expectAnswer(engine, { prompt: prompt(150, 7), maxTokens: 40 });
  });

  it("continues a named session and says how many tokens it kept", async () => {
    const { engine } = start({ pages: 32, hostPages: 0 });
    const first = prompt(20, 1);
    const answer = await expectAnswer(engine, { prompt: first, maxTokens: 10, session: "a" });
    const second = Int32Array.from([...first, ...answer, 5, 6, 7]);
    const result = await engine.generate({ prompt: second, maxTokens: 4, session: "a" });
    // The last sampled token has no K and V yet.
    expect(result.cachedTokens).toBe(first.length + answer.length - 1);
    expect([...result.tokens]).toEqual(expectedTokens(second, 4, 0n));
  });

  it("continues an unnamed conversation by what it begins with", async () => {
    const { engine } = start({ pages: 32, hostPages: 0 });
    const first = prompt(20, 1);
    await expectAnswer(engine, { prompt: first, maxTokens: 4 });
    await expectAnswer(engine, { prompt: prompt(20, 2), maxTokens: 4 });
    const result = await engine.generate({ prompt: first, maxTokens: 4 });
    expect(result.cachedTokens).toBe(19);
  });

  it("keeps what two turns share and computes what differs", async () => {
    const { engine } = start({ pages: 32, hostPages: 0 });
    const first = prompt(40, 1);
    await expectAnswer(engine, { prompt: first, maxTokens: 4, session: "a" });
    const edited = first.slice();
    edited[25] = 3;
    const result = await engine.generate({ prompt: edited, maxTokens: 4, session: "a" });
    expect(result.cachedTokens).toBe(25);
    expect([...result.tokens]).toEqual(expectedTokens(edited, 4, 0n));
  });

  it("passes tokens on as they come and stops when told to", async () => {
    const { engine } = start({ pages: 32, hostPages: 0 });
    const seen: number[] = [];
    const request = { prompt: prompt(9, 4), maxTokens: 30 };
    const result = await engine.generate({
      ...request,
      onToken: (token) => {
        seen.push(token.token);
        return seen.length === 5;
      },
    });
    expect(result.finishReason).toBe("stop");
    expect(seen).toEqual(expectedTokens(request.prompt, 5, 0n));
  });

  it("rejects with what onToken throws, and goes on", async () => {
    const { engine } = start({ pages: 32, hostPages: 0 });
    const request = { prompt: prompt(9, 4), maxTokens: 30 };
    const thrown = new Error("the listener's");
    await expect(
      engine.generate({
        ...request,
        onToken: () => {
          throw thrown;
        },
      }),
    ).rejects.toBe(thrown);
    await expectAnswer(engine, request);
  });
});

describe("refusals", () => {
  it("names the numbers of a request that can never fit", async () => {
    const { engine } = start({ pages: 4, hostPages: 100 });
    await expect(engine.generate({ prompt: prompt(30, 1), maxTokens: 10 })).rejects.toMatchObject({
      code: "KVPAGE_REQUEST_TOO_LARGE",
      message: expect.stringMatching(
        /30 prompt tokens and maxTokens 10 need 5 pages of 8 tokens; .* holds 4/,
      ),
    });
    await expect(engine.generate({ prompt: prompt(30, 1), maxTokens: 227 })).rejects.toMatchObject({
      code: "KVPAGE_CONTEXT_EXCEEDED",
    });
    await expectAnswer(engine, { prompt: prompt(30, 1), maxTokens: 2 });
  });

  it.each([
    [{ prompt: new Int32Array(0) }, "prompt"],
    [{ prompt: Int32Array.of(5, 1000) }, "prompt[1]"],
    [{ maxTokens: 0 }, "maxTokens"],
    [{ maxTokens: 1.5 }, "maxTokens"],
    [{ sampling: { temperature: -1 } }, "temperature"],
    [{ sampling: { temperature: Number.NaN } }, "temperature"],
    [{ sampling: { topK: -1 } }, "topK"],
    [{ sampling: { topP: 0 } }, "topP"],
    [{ sampling: { minP: 1 } }, "minP"],
    [{ topLogprobs: 21 }, "topLogprobs"],
  ])("%j: names the field", async (change, field) => {
    const { engine } = start({ pages: 4, hostPages: 0 });
    const request = { prompt: prompt(3, 1), maxTokens: 2, ...change };
    await expect(engine.generate(request)).rejects.toMatchObject({
      code: "KVPAGE_INVALID_ARGUMENT",
      message: expect.stringContaining(`${field} is `),
    });
  });

  it("refuses a step too small for its sequences", () => {
    expect(() => start({ pages: 4, hostPages: 0, maxSequences: 64, stepTokens: 32 })).toThrow(
      /stepTokens is 32/,
    );
  });

  it("takes no request once it closes, and answers those that it has", async () => {
    const { engine } = start({ pages: 32, hostPages: 0 });
    const answer = expectAnswer(engine, { prompt: prompt(9, 4), maxTokens: 30 });
    const closed = engine.close();
    await expect(engine.generate({ prompt: prompt(3, 1), maxTokens: 2 })).rejects.toMatchObject({
      code: "KVPAGE_CLOSED",
    });
    await answer;
    await closed;
  });
});

describe("cancellation", () => {
  it("withdraws a waiting, a loading and a running request", async () => {
    const { engine } = start({ pages: 16, hostPages: 16, maxSequences: 2 });
    const controllers = Array.from({ length: 6 }, () => new AbortController());
    const results = controllers.map((controller, i) =>
      engine.generate({ prompt: prompt(20, i), maxTokens: 60, signal: controller.signal }).then(
        () => "done",
        (error: { code: string }) => error.code,
      ),
    );
    for (const controller of controllers) {
      for (let tick = 0; tick < 40; tick++) await Promise.resolve();
      controller.abort();
    }
    expect(new Set(await Promise.all(results))).toContain("KVPAGE_ABORTED");
    engine.checkIntegrity();
    const { running, waiting, device } = engine.stats();
    expect([running, waiting, device.pinned]).toEqual([0, 0, 0]);
    await expectAnswer(engine, { prompt: prompt(20, 9), maxTokens: 10 });
  });

  it("refuses a request whose signal has fired already", async () => {
    const { engine } = start({ pages: 16, hostPages: 16 });
    const request = { prompt: prompt(20, 1), maxTokens: 6, signal: AbortSignal.abort() };
    await expect(engine.generate(request)).rejects.toMatchObject({ code: "KVPAGE_ABORTED" });
  });
});

describe("paging never shows", () => {
  const policies = ["lru", "flush-when-all-0s", "mark0", "mark-and-predict"];
  const predictors = ["recency", "random", "constant:0", "constant:1"];

  describe.each(policies)("%s", (policy) => {
    it.each(predictors)("%s: ample host tier", async (predictor) => {
      const { engine } = start({ pages: 24, hostPages: 400, policy, predictor });
      await converse(engine, 12, 4, 3);
      const stats = engine.stats();
      expect(stats.pageOut.evict).toBeGreaterThan(0);
      expect(stats.pageIn).toBeGreaterThan(0);
      expect(stats.dropped).toBe(0);
    });

    it.each([0, 1, 10, 40])("%i host pages: what is dropped is computed again", async (hostPages) => {
      const { engine } = start({ pages: 24, hostPages, policy });
      await converse(engine, 12, 4, 5);
      expect(engine.stats().dropped).toBeGreaterThan(0);
    });
  });

  it("running sequences alone outgrow the budget: the latest gives way and all finish", async () => {
    const { engine, model } = start({ pages: 20, hostPages: 200 });
    const requests = Array.from({ length: 8 }, (_, i) => ({ prompt: prompt(8, i), maxTokens: 100 }));
    await Promise.all(requests.map((request) => expectAnswer(engine, request)));
    expect(engine.stats().preemptions).toBeGreaterThan(0);
    expect(engine.stats().pageOut.preempt).toBeGreaterThan(0);
    expect(model.widestStep).toBeGreaterThan(1);
  });

  it.each(Array.from({ length: 40 }, (_, i) => i + 1))(
    "random budgets and failing copies, seed %i",
    async (seed) => {
      const next = random(seed);
      const { engine } = start({
        seed,
        pages: 14 + Math.floor(next() * 30),
        hostPages: Math.floor(next() * 60),
        maxSequences: 1 + Math.floor(next() * 8),
        policy: policies[Math.floor(next() * policies.length)]!,
        predictor: predictors[Math.floor(next() * predictors.length)]!,
        copyFailure: next() < 0.5 ? 0 : 0.2,
      });
      await converse(engine, 10, 3, seed);
      engine.checkIntegrity();
    },
  );
});

it("a failing step ends the requests in it with a typed error and nothing else", async () => {
  const { engine } = start({ pages: 30, hostPages: 30, stepFailure: 0.02 });
  const outcomes = await Promise.all(
    Array.from({ length: 60 }, (_, i) => {
      const request = { prompt: prompt(10 + (i % 7), i), maxTokens: 12 };
      return engine.generate(request).then(
        (result) => {
          expect([...result.tokens]).toEqual(expectedTokens(request.prompt, 12, 0n));
          return "answered";
        },
        (error: { code: string }) => error.code,
      );
    }),
  );
  expect(outcomes).toContain("KVPAGE_STEP_FAILED");
  expect(outcomes).toContain("answered");
  engine.checkIntegrity();
});
