import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ServerProcess, TemporaryFolder } from "./server-process.ts";
import { writeSmallModel } from "./small-model.ts";

const folder = new TemporaryFolder();
let server: ServerProcess;

beforeAll(async () => {
  await writeSmallModel(folder.file("small.gguf"));
  server = await ServerProcess.start(["--model", folder.file("small.gguf"), "--kv-memory", "8MiB"]);
});
afterAll(async () => {
  await server.stop();
  folder[Symbol.dispose]();
});

const text = fc.string({ maxLength: 20 });
const huge = fc.constantFrom(1e300, -1e300, Number.MAX_SAFE_INTEGER + 1, -0.5, 1e20);
const notNumber = fc.oneof(text, fc.boolean(), fc.constant([]), fc.constant({}), fc.constant([1]));
const notString = fc.oneof(fc.integer(), fc.boolean(), fc.constant({}), huge);
const notObject = fc.oneof(text, fc.integer(), fc.boolean(), fc.constant([]));
const notBoolean = fc.oneof(text, fc.integer(), fc.constant({}), fc.constant([]));
const notInteger = fc.oneof(notNumber, huge);

/** Bad values of every field that the endpoints share. */
const shared: Record<string, fc.Arbitrary<unknown>> = {
  model: fc.oneof(notString, fc.constant(""), fc.constant("another")),
  temperature: fc.oneof(notNumber, fc.constant(-0.1), fc.constant(1e300)),
  top_p: fc.oneof(notNumber, fc.double({ min: 1.01, noNaN: true }), fc.constant(0)),
  top_k: fc.oneof(notInteger, fc.integer({ max: -2 })),
  min_p: fc.oneof(notNumber, fc.double({ min: 1, noNaN: true })),
  seed: notInteger,
  max_tokens: fc.oneof(notInteger, fc.integer({ max: 0 })),
  max_completion_tokens: fc.oneof(notInteger, fc.integer({ max: 0 })),
  stop: fc.oneof(notString, fc.constant(""), fc.array(text, { minLength: 5 }), fc.constant(["", "a"])),
  stream: notBoolean,
  stream_options: fc.oneof(notObject, fc.constant({})),
  ignore_eos: notBoolean,
  prompt_cache_key: fc.oneof(notString, fc.constant(""), fc.constant("k".repeat(513))),
  kvpage: fc.oneof(notObject, fc.record({ reuse: notString }), fc.record({ pin: fc.boolean() })),
  n: fc.oneof(fc.integer({ min: 2 }), notNumber),
  echo: fc.constant(true),
  tools: fc.array(fc.object(), { minLength: 1 }),
  logit_bias: fc.dictionary(fc.stringMatching(/^\d+$/), fc.integer(), { minKeys: 1 }),
  response_format: fc.constantFrom({ type: "json_object" }, "json"),
  presence_penalty: fc.double({ min: 0.1, noNaN: true }),
  reasoning_effort: fc.constantFrom("low", "high"),
  nonsense: fc.oneof(text, fc.integer()),
};

const badCompletion: typeof shared = {
  ...shared,
  prompt: fc.oneof(
    fc.constantFrom(
      [],
      {},
      5,
      true,
      ["a", "b"],
      [[1], [2]],
      [""].slice(1),
      [-1],
      [1.5],
      [1e9],
      [1, "a"],
      [null],
    ),
    fc.array(fc.integer({ max: -1 }), { minLength: 1 }),
  ),
  logprobs: fc.oneof(notInteger, fc.integer({ min: 21 }), fc.integer({ max: -1 })),
};
const badChat: typeof shared = {
  ...shared,
  messages: fc.oneof(
    fc.constantFrom([], {}, "hi", 5, [5], ["hi"], [{}], [[]], [null]),
    fc.record({ role: text, content: text }).map((message) => [message]),
    notString.map((content) => [{ role: "user", content }]),
    fc.object().map((part) => [{ role: "user", content: [part] }]),
  ),
  logprobs: notBoolean,
  top_logprobs: fc.oneof(notInteger, fc.integer()),
};

const bad = (path: string, valid: object, fields: typeof shared) =>
  fc.oneof(
    ...Object.entries(fields).map(([field, value]) =>
      value.map((v) => ({ path, field, body: { ...valid, [field]: v } })),
    ),
  );
const badRequest = fc.oneof(
  bad("/v1/completions", { prompt: "a", max_tokens: 1 }, badCompletion),
  bad("/v1/chat/completions", { messages: [{ role: "user", content: "a" }], max_tokens: 1 }, badChat),
);

it("200 random bad requests are refused by field, and the server goes on answering", async () => {
  const answer = async () => {
    const response = await server.post("/v1/completions", { prompt: "Once", max_tokens: 8, temperature: 0 });
    expect(response.status).toBe(200);
    return ((await response.json()) as { choices: unknown[] }).choices[0];
  };
  const before = await answer();
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(badRequest, async ({ path, field, body }) => {
      const response = await server.post(path, body);
      const { error } = (await response.json()) as {
        error: { message: string; param: string; code: string };
      };
      expect(response.status).toBeGreaterThanOrEqual(400);
      expect(response.status).toBeLessThan(500);
      expect(error.message.startsWith(field), error.message).toBe(true);
      expect(error.message).toMatch(/ (is|make) .*; (expected|the context holds) /s);
      expect(error.param.startsWith(field)).toBe(true);
      expect(error.code).toMatch(/^KVPAGE_/);
      refused++;
    }),
    { numRuns: 200 },
  );
  expect(refused).toBe(200);
  for (const body of ["", "{", "[]", "null", "5", '{"__proto__": 1}', "\u0000"]) {
    const response = await server.post("/v1/completions", body);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { type: "invalid_request_error" } });
  }
  expect(await answer()).toEqual(before);
});
