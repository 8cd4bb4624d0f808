import { once } from "node:events";
import { connect } from "node:net";
import { EngineError } from "@kvpage/engine";
import { RunnerError } from "@kvpage/runner";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type App, createApp } from "./app.ts";
import { FakeEngine, fakeModel } from "./testing/fake-engine.ts";

let engine: FakeEngine;
let app: App;

beforeEach(() => {
  engine = new FakeEngine();
  app = createApp({ engine, model: fakeModel, modelId: "fake", contextTokens: 100, defaultSeed: () => 5n });
});
afterEach(() => app.drain());

const post = (url: string, payload: object | string) =>
  app.http.inject({ method: "POST", url, payload, headers: { "content-type": "application/json" } });
const complete = (payload: object | string) => post("/v1/completions", payload);
const chat = (payload: object | string) => post("/v1/chat/completions", payload);
const ask = (content: unknown, more: object = {}) => chat({ messages: [{ role: "user", content }], ...more });

/** The data of server-sent events. */
function events(body: string): string[] {
  expect(body.endsWith("\n\n")).toBe(true);
  return body
    .slice(0, -2)
    .split("\n\n")
    .map((event) => {
      expect(event.startsWith("data: ")).toBe(true);
      return event.slice("data: ".length);
    });
}

describe("completions", () => {
  it("answers with text and usage", async () => {
    const response = await complete({ model: "fake", prompt: "héllo", max_tokens: 9 });
    expect(response.statusCode).toBe(200);
    expect(response.json()).toMatchObject({
      object: "text_completion",
      model: "fake",
      choices: [{ index: 0, text: "hélloh\u00e9", logprobs: null, finish_reason: "length" }],
      usage: {
        prompt_tokens: 6,
        completion_tokens: 9,
        total_tokens: 15,
        prompt_tokens_details: { cached_tokens: 3 },
      },
    });
  });

  it.each([
    ["a string", "ab"],
    ["token ids", [97, 98]],
    ["one string in an array", ["ab"]],
    ["one array of token ids in an array", [[97, 98]]],
  ])("takes %s as the prompt", async (_name, prompt) => {
    expect((await complete({ prompt, max_tokens: 3 })).json()).toMatchObject({ choices: [{ text: "aba" }] });
    expect([...engine.requests[0]!.prompt]).toEqual([97, 98]);
  });

  it.each([
    [""],
    [[]],
    [["a", "b"]],
    [[[1], [2]]],
    [[-1]],
    [[256]],
    [[1.5]],
    [[1, "a"]],
    [{}],
    [7],
    [[[["a"]]]],
  ])("refuses the prompt %j", async (prompt) => {
    const response = await complete({ prompt });
    expect(response.statusCode).toBe(400);
    expect(response.json()).toMatchObject({
      error: { message: expect.stringMatching(/^prompt.* is .*; expected /) },
    });
  });

  it("hands the engine what the request says", async () => {
    await complete({
      prompt: "a",
      temperature: 0.5,
      seed: 9,
      top_k: 3,
      prompt_cache_key: "k",
      kvpage: { reuse: "likely" },
      ignore_eos: true,
      logprobs: 2,
    });
    expect(engine.requests[0]).toMatchObject({
      maxTokens: 16,
      sampling: { temperature: 0.5, topK: 3, topP: 1, minP: 0, seed: 9n },
      session: "k",
      reuse: "likely",
      topLogprobs: 2,
      ignoreEndOfGeneration: true,
    });
    await complete({ prompt: "a" });
    expect(engine.requests[1]!.sampling!.seed).toBe(5n);
    expect(engine.requests[1]).not.toHaveProperty("session");
    expect(engine.requests[1]).not.toHaveProperty("topLogprobs");
  });

  it("ends before a stop string and tells of the tokens before it alone", async () => {
    const response = await complete({ prompt: "héllo", max_tokens: 20, logprobs: 1, stop: ["zz", "oh"] });
    const { choices, usage } = response.json<{ choices: unknown[]; usage: object }>();
    expect(choices[0]).toMatchObject({
      text: "héll",
      finish_reason: "stop",
      logprobs: {
        tokens: ["h", "bytes:\\xc3", "bytes:\\xa9", "l", "l"],
        token_logprobs: [-0.5, -0.5, -0.5, -0.5, -0.5],
        text_offset: [0, 1, 1, 2, 3],
      },
    });
    expect(usage).toMatchObject({ completion_tokens: 7 });
  });

  it("streams the same text", async () => {
    const response = await complete({
      prompt: "héllo",
      max_tokens: 20,
      stop: "oh",
      stream: true,
      logprobs: 0,
      stream_options: { include_usage: true },
    });
    expect(response.headers["content-type"]).toBe("text/event-stream; charset=utf-8");
    const data = events(response.body);
    expect(data.pop()).toBe("[DONE]");
    type Chunk = {
      id: string;
      choices: { text: string; finish_reason: string; logprobs: { tokens: string[] } }[];
      usage: object;
    };
    const chunks = data.map((text) => JSON.parse(text) as Chunk);
    expect(new Set(chunks.map((chunk) => chunk.id)).size).toBe(1);
    const last = chunks.pop()!;
    expect(last).toMatchObject({ choices: [], usage: { completion_tokens: 7, prompt_tokens: 6 } });
    expect(chunks.every((chunk) => chunk.usage === null)).toBe(true);
    expect(chunks.map((chunk) => chunk.choices[0]!.text).join("")).toBe("héll");
    expect(chunks.flatMap((chunk) => chunk.choices[0]!.logprobs.tokens).length).toBe(5);
    expect(chunks.map((chunk) => chunk.choices[0]!.finish_reason)).toEqual([null, null, null, null, "stop"]);
  });
});

describe("chat completions", () => {
  it("answers as the assistant", async () => {
    const response = await ask("abc", { max_completion_tokens: 4 });
    expect(response.json()).toMatchObject({
      object: "chat.completion",
      choices: [{ message: { role: "assistant", content: "abca", refusal: null }, finish_reason: "length" }],
      usage: { prompt_tokens: 3, completion_tokens: 4 },
    });
  });

  it("takes as many tokens as fit when not told", async () => {
    expect((await ask("abcd")).json()).toMatchObject({ usage: { completion_tokens: 96 } });
  });

  it("joins text parts, and takes back an answer as it was given", async () => {
    const { choices } = (await ask("abc", { max_tokens: 2 })).json<{ choices: [{ message: object }] }>();
    const parts = ["x", "y"].map((text) => ({ type: "text", text }));
    const messages = [
      choices[0].message,
      { role: "developer", content: "z" },
      { role: "user", content: parts },
    ];
    expect((await chat({ messages, max_tokens: 3 })).json()).toMatchObject({
      choices: [{ message: { content: "x\ny" } }],
    });
  });

  it("streams role, text, finish reason and the end", async () => {
    const data = events((await ask("abc", { max_tokens: 2, stream: true })).body);
    expect(data.pop()).toBe("[DONE]");
    const chunks = data.map(
      (text) => JSON.parse(text) as { object: string; choices: [{ delta: object; finish_reason: string }] },
    );
    expect(chunks.every((chunk) => chunk.object === "chat.completion.chunk" && !("usage" in chunk))).toBe(
      true,
    );
    expect(chunks.map((chunk) => chunk.choices[0].delta)).toEqual([
      { role: "assistant", content: "", refusal: null },
      { content: "a" },
      { content: "b" },
      {},
    ]);
    expect(chunks.at(-1)!.choices[0].finish_reason).toBe("length");
  });

  it("tells of log-probabilities", async () => {
    const { choices } = (await ask("é", { max_tokens: 2, logprobs: true, top_logprobs: 1 })).json<{
      choices: object[];
    }>();
    const token = (text: string, byte: number) => ({ token: text, logprob: -0.5, bytes: [byte] });
    const [first, second] = [token("bytes:\\xc3", 0xc3), token("bytes:\\xa9", 0xa9)];
    expect(choices[0]).toMatchObject({
      logprobs: {
        content: [
          { ...first, top_logprobs: [first] },
          { ...second, top_logprobs: [second] },
        ],
        refusal: null,
      },
    });
  });

  it.each([
    [{}, "messages is missing; expected an array"],
    [{ messages: [] }, "messages is []"],
    [{ messages: ["hi"] }, 'messages[0] is "hi"; expected a JSON object'],
    [{ messages: [{ content: "a" }] }, "messages[0].role is missing"],
    [{ messages: [{ role: "tool", content: "a" }] }, 'messages[0].role is "tool"'],
    [{ messages: [{ role: "user" }] }, "messages[0].content is missing"],
    [{ messages: [{ role: "user", content: 5 }] }, "messages[0].content is 5"],
    [
      { messages: [{ role: "user", content: [{ type: "image_url" }] }] },
      'messages[0].content[0].type is "image_url"',
    ],
    [{ messages: [{ role: "user", content: [{ type: "text" }] }] }, "messages[0].content[0].text is missing"],
    [
      { messages: [{ role: "user", content: "a", name: "x" }] },
      'messages[0].name is "x"; expected no such field',
    ],
    [{ messages: [{ role: "user", content: "" }] }, "messages is [{"],
    [{ messages: [{ role: "user", content: "a" }], top_logprobs: 2 }, "top_logprobs is 2; expected logprobs"],
    [{ messages: [{ role: "user", content: "a" }], logprobs: 2 }, "logprobs is 2; expected true or false"],
  ])("refuses %j", async (body, message) => {
    const response = await chat(body);
    expect(response.statusCode).toBe(400);
    expect(response.json<{ error: { message: string } }>().error.message).toContain(message);
  });
});

describe("failures", () => {
  const error = (type: string, code: string, param: string | null = null) => ({
    error: { message: expect.any(String), type, param, code },
  });

  it.each([
    ["KVPAGE_CONTEXT_EXCEEDED", 400, "prompt"],
    ["KVPAGE_REQUEST_TOO_LARGE", 400, "prompt"],
    ["KVPAGE_CLOSED", 503, null],
    ["KVPAGE_STEP_FAILED", 500, null],
  ] as const)("of the engine: %s is %i, streamed or not", async (code, status, param) => {
    engine.failure = new EngineError(code, "as it says");
    for (const stream of [false, true]) {
      const response = await complete({ prompt: "a", stream });
      expect(response.statusCode).toBe(status);
      expect(response.json()).toEqual(
        error(status < 500 ? "invalid_request_error" : "server_error", code, param),
      );
      expect(response.json()).toMatchObject({ error: { message: "as it says" } });
    }
  });

  it("in the middle of a stream end it with an error and without the end mark", async () => {
    engine.failure = new EngineError("KVPAGE_STEP_FAILED", "boom");
    engine.failAfter = 2;
    const data = events((await complete({ prompt: "ab", stream: true })).body);
    expect(data.length).toBe(3);
    expect(JSON.parse(data[2]!)).toEqual(error("server_error", "KVPAGE_STEP_FAILED"));
  });

  it("of the chat template are blamed on the messages", async () => {
    const applyChatTemplate = () => {
      throw new RunnerError("KVPAGE_CHAT_TEMPLATE", "roles must alternate");
    };
    const options = { engine, modelId: "fake", contextTokens: 100, defaultSeed: () => 5n };
    const { http } = createApp({ ...options, model: { ...fakeModel, applyChatTemplate } });
    const payload = { messages: [{ role: "user", content: "a" }] };
    const response = await http.inject({ method: "POST", url: "/v1/chat/completions", payload });
    expect(response.statusCode).toBe(400);
    expect(response.json()).toEqual(error("invalid_request_error", "KVPAGE_CHAT_TEMPLATE", "messages"));
    await http.close();
  });

  it("of our own say nothing of the inside", async () => {
    engine.failure = new TypeError("x is not a function");
    const response = await complete({ prompt: "a" });
    expect(response.statusCode).toBe(500);
    expect(response.json()).toEqual(error("server_error", "KVPAGE_INTERNAL"));
    expect(response.body).not.toContain("not a function");
  });

  it("of HTTP have the same shape", async () => {
    const invalid = "invalid_request_error";
    const json = { "content-type": "application/json" };
    const url = "/v1/completions";
    for (const [request, status, code] of [
      [{ method: "GET", url: "/nowhere" }, 404, "KVPAGE_NOT_FOUND"],
      [{ method: "GET", url }, 405, "KVPAGE_METHOD_NOT_ALLOWED"],
      [
        { method: "POST", url, headers: { "content-type": "text/plain" }, payload: "a" },
        415,
        "KVPAGE_UNSUPPORTED_MEDIA_TYPE",
      ],
      [{ method: "POST", url, headers: json, payload: "{" }, 400, "KVPAGE_INVALID_REQUEST"],
      [{ method: "POST", url, headers: json, payload: "" }, 400, "KVPAGE_INVALID_REQUEST"],
      [{ method: "POST", url, headers: json, payload: "[]" }, 400, "KVPAGE_INVALID_REQUEST"],
      [{ method: "POST", url, headers: json, payload: `"${"a".repeat(5e6)}"` }, 413, "KVPAGE_BODY_TOO_LARGE"],
      [{ method: "GET", url: "/%zz" }, 400, "KVPAGE_INVALID_REQUEST"],
    ] as const) {
      const response = await app.http.inject(request);
      expect(response.statusCode).toBe(status);
      expect(response.json()).toEqual(error(invalid, code));
    }
    const unknown = await complete({ model: "gpt-5", prompt: "a" });
    expect(unknown.statusCode).toBe(404);
    expect(unknown.json()).toEqual(error(invalid, "KVPAGE_MODEL_NOT_FOUND", "model"));
  });

  it("of the protocol are answered too", async () => {
    await app.http.listen({ port: 0 });
    const socket = connect((app.http.server.address() as { port: number }).port, "127.0.0.1");
    socket.end("nonsense\r\n\r\n");
    const [data] = (await once(socket, "data")) as [Buffer];
    expect(data.toString()).toMatch(/^HTTP\/1.1 400 [\s\S]*"code":"KVPAGE_INVALID_REQUEST"/);
  });
});

describe("the server", () => {
  it("lists its model", async () => {
    const { data } = (await app.http.inject("/v1/models")).json<{ data: object[] }>();
    expect(data).toMatchObject([{ id: "fake", object: "model", owned_by: "kvpage" }]);
    expect((await app.http.inject("/v1/models/fake")).json()).toEqual(data[0]);
    expect((await app.http.inject("/v1/models/other")).statusCode).toBe(404);
  });

  it("ends a generation whose client leaves", async () => {
    await app.http.listen({ port: 0 });
    const { port } = app.http.server.address() as { port: number };
    for (const stream of [true, false]) {
      const controller = new AbortController();
      const response = fetch(`http://127.0.0.1:${port}/v1/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ prompt: "a", max_tokens: 99, stream }),
        signal: controller.signal,
      });
      while (engine.running === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      controller.abort();
      await expect(response.then((r) => r.text())).rejects.toThrow("aborted");
      while (engine.running > 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    expect(engine.counts).toMatchObject({ abort: 2, length: 0 });
  });

  it("answers what it has begun, refuses the rest and says that it stops", async () => {
    const begun = complete({ prompt: "ab", max_tokens: 50 });
    while (engine.running === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    expect((await app.http.inject("/health")).statusCode).toBe(200);
    const drained = app.drain();
    const health = await app.http.inject("/health");
    expect([health.statusCode, health.json()]).toEqual([503, { status: "draining" }]);
    const refused = await complete({ prompt: "a" });
    expect(refused.statusCode).toBe(503);
    expect(refused.headers["retry-after"]).toBe("5");
    expect(refused.json()).toMatchObject({ error: { type: "server_error", code: "KVPAGE_DRAINING" } });
    expect((await begun).json()).toMatchObject({ usage: { completion_tokens: 50 } });
    await drained;
  });

  it("shows vLLM's metrics and its own", async () => {
    await complete({ prompt: "ab", max_tokens: 3 });
    const first = (await app.http.inject("/metrics")).body;
    for (const line of [
      'vllm:num_requests_running{model_name="fake"} 0',
      'vllm:kv_cache_usage_perc{model_name="fake"} 0.25',
      'vllm:prefix_cache_queries_total{model_name="fake"} 40',
      'vllm:prefix_cache_hits_total{model_name="fake"} 30',
      'vllm:request_success_total{model_name="fake",finished_reason="length"} 1',
      'vllm:time_to_first_token_seconds_count{model_name="fake"} 1',
      'vllm:inter_token_latency_seconds_count{model_name="fake"} 2',
      'vllm:e2e_request_latency_seconds_sum{model_name="fake"} 0.003',
      'vllm:cache_config_info{model_name="fake",block_size="16",num_gpu_blocks="8",num_cpu_blocks="4"} 1',
      'kvpage:pages{tier="device",state="free"} 5',
      'kvpage:pages{tier="host",state="used"} 1',
      'kvpage:page_out_total{tier="host",reason="evict"} 5',
      'kvpage:page_in_total{tier="host"} 4',
      "kvpage:faults_total 7",
      "kvpage:shadow_lru_faults_total 8",
      'kvpage:memory_bytes{tier="device"} 12288',
      'kvpage:memory_limit_bytes{tier="host"} 16384',
    ]) {
      expect(first.split("\n")).toContain(line);
    }
    // Counters are the engine's, however often they are read.
    expect((await app.http.inject("/metrics")).body).toContain("\nkvpage:faults_total 7\n");
  });
});
