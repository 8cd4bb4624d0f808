import { expect, it } from "vitest";
import { planMemory, type PlanOptions } from "./plan.ts";

const options: PlanOptions = {
  rowBytes: 640,
  granularity: 4096,
  kvMemoryBytes: 1 << 20,
  hostMemoryBytes: 1 << 21,
  contextTokens: 500,
  maxSequences: 4,
};

it("cuts budgets into whole pages and never exceeds them", () => {
  expect(planMemory(options)).toEqual({
    pageTokens: 64,
    pageBytes: 40960,
    rowBytes: 640,
    pages: 25,
    hostPages: 51,
    windows: 8,
    windowPages: 8,
  });
});

it("makes pages of at least 256 KiB where a token is large", () => {
  const plan = planMemory({ ...options, rowBytes: 57344, kvMemoryBytes: 1 << 30 });
  expect(plan.pageTokens).toBe(5);
  expect(plan.pageBytes % 4096).toBe(0);
});

it.each([
  [{ pageTokens: 33 }, "KVPAGE_INVALID_ARGUMENT", /pageTokens is 33; .* must be a multiple of 32/],
  [{ pageTokens: 0 }, "KVPAGE_INVALID_ARGUMENT", /pageTokens is 0/],
  [{ contextTokens: 0 }, "KVPAGE_INVALID_ARGUMENT", /contextTokens is 0/],
  [{ maxSequences: 1.5 }, "KVPAGE_INVALID_ARGUMENT", /maxSequences is 1.5/],
  [{ hostMemoryBytes: -1 }, "KVPAGE_INVALID_ARGUMENT", /hostMemoryBytes is -1/],
  [{ kvMemoryBytes: 40959 }, "KVPAGE_BUDGET_TOO_SMALL", /kvMemoryBytes is 40959; one page .* needs 40960/],
])("%j is refused by name", (change, code, message) => {
  expect(() => planMemory({ ...options, ...change })).toThrow(
    expect.objectContaining({ code, message: expect.stringMatching(message) as string }),
  );
});
