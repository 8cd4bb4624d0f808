import OpenAI, { APIUserAbortError, BadRequestError, NotFoundError } from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ServerProcess, TemporaryFolder, until } from "./server-process.ts";
import { writeSmallModel } from "./small-model.ts";

const folder = new TemporaryFolder();
let server: ServerProcess;
let client: OpenAI;

const messages = [{ role: "user" as const, content: "Hello" }];
/** Never ends by itself before its limit. */
const long = { model: "small", messages, max_tokens: 3000, ignore_eos: true };

beforeAll(async () => {
  await writeSmallModel(folder.file("small.gguf"));
  server = await ServerProcess.start(["--model", folder.file("small.gguf"), "--kv-memory", "64MiB"]);
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
});
afterAll(async () => {
  await server.stop();
  folder[Symbol.dispose]();
});

describe("the openai package", () => {
  it("finds the model", async () => {
    const { data } = await client.models.list();
    expect(data.map((model) => model.id)).toEqual(["small"]);
    expect((await client.models.retrieve("small")).owned_by).toBe("kvpage");
  });

  it("chats, and gets the same answer as a stream and from a kept conversation", async () => {
    const request = { ...long, max_tokens: 24, temperature: 0.8, seed: 7, prompt_cache_key: "a chat" };
    const answer = await client.chat.completions.create(request);
    const [choice] = answer.choices;
    expect(choice).toMatchObject({ finish_reason: "length", message: { role: "assistant" } });
    expect(answer.usage).toMatchObject({ completion_tokens: 24 });

    const stream = await client.chat.completions.create({
      ...request,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    let finish: string | null | undefined;
    let usage: OpenAI.CompletionUsage | null | undefined;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      finish = chunk.choices[0]?.finish_reason ?? finish;
      usage = chunk.usage ?? usage;
    }
    expect(text).toBe(choice!.message.content);
    expect(finish).toBe("length");
    expect(usage!.prompt_tokens).toBe(answer.usage!.prompt_tokens);
    expect(usage!.prompt_tokens_details!.cached_tokens).toBe(answer.usage!.prompt_tokens - 1);
  });

  it("runs its own stream helper", async () => {
    const request = { ...long, max_tokens: 8, temperature: 0, logprobs: true, top_logprobs: 2 };
    const completion = await client.chat.completions.stream(request).finalChatCompletion();
    const whole = await client.chat.completions.create(request);
    expect(completion.choices[0]!.message.content).toBe(whole.choices[0]!.message.content);
    const { content } = whole.choices[0]!.logprobs!;
    expect(content!.length).toBe(8);
    // Greedy: the chosen token is the most probable one.
    for (const { logprob, top_logprobs } of content!) {
      expect(top_logprobs.length).toBe(2);
      expect(logprob).toBe(top_logprobs[0]!.logprob);
      expect(logprob).toBeLessThanOrEqual(0);
    }
    expect(completion.choices[0]!.logprobs).toEqual(whole.choices[0]!.logprobs);
  });

  it("completes, and stops where it is told", async () => {
    const request = { model: "small", prompt: "Once", max_tokens: 64, temperature: 0 };
    const { choices } = await client.completions.create(request);
    const { text } = choices[0]!;
    expect(text.length).toBeGreaterThan(8);
    const stop = text.slice(5, 7);
    const stopped = await client.completions.create({ ...request, stop });
    expect(stopped.choices[0]).toMatchObject({
      text: text.slice(0, text.indexOf(stop)),
      finish_reason: "stop",
    });
  });

  it("aborts a stream, and the server lets go of it", async () => {
    const aborted = await server.metric("vllm:request_success_total", { finished_reason: "abort" });
    const stream = await client.chat.completions.create({ ...long, stream: true });
    let chunks = 0;
    for await (const chunk of stream) {
      expect(chunk.object).toBe("chat.completion.chunk");
      if (++chunks === 3) break; // aborts the request
    }
    await until(async () => (await server.metric("vllm:num_requests_running")) === 0);
    expect(await server.metric("vllm:request_success_total", { finished_reason: "abort" })).toBe(aborted + 1);
    expect(await server.metric("kvpage:pages", { tier: "device", state: "pinned" })).toBe(0);
  });

  it("aborts a request that is no stream", async () => {
    const controller = new AbortController();
    const answer = client.chat.completions.create(long, { signal: controller.signal });
    const failure = answer.catch((error: unknown) => error);
    await until(async () => (await server.metric("vllm:num_requests_running")) === 1);
    controller.abort();
    expect(await failure).toBeInstanceOf(APIUserAbortError);
    await until(async () => (await server.metric("vllm:num_requests_running")) === 0);
  });

  it("raises its own error classes", async () => {
    const failure = async (request: object): Promise<unknown> =>
      client.chat.completions.create({ ...long, ...request }).then(
        () => undefined,
        (error: unknown) => error,
      );
    const bad = await failure({ temperature: -1 });
    expect(bad).toBeInstanceOf(BadRequestError);
    expect(bad).toMatchObject({
      status: 400,
      code: "KVPAGE_INVALID_REQUEST",
      param: "temperature",
      type: "invalid_request_error",
    });
    expect((bad as Error).message).toContain("temperature is -1; expected a number of 0..100");
    expect(await failure({ n: 2 })).toMatchObject({ param: "n", code: "KVPAGE_UNSUPPORTED_PARAMETER" });
    expect(await failure({ model: "gpt-5" })).toBeInstanceOf(NotFoundError);
    expect(await failure({ max_tokens: 5000 })).toMatchObject({
      status: 400,
      code: "KVPAGE_CONTEXT_EXCEEDED",
    });
    expect(await failure({ max_tokens: 5000, stream: true })).toMatchObject({ status: 400 });
  });
});
