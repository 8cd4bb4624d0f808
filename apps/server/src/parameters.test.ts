import { describe, expect, it } from "vitest";
import { Fields } from "./fields.ts";
import { readParameters } from "./parameters.ts";

const read = (body: object) => {
  const fields = new Fields(body);
  const parameters = readParameters(fields, () => 77n);
  fields.finish();
  return parameters;
};

describe("readParameters", () => {
  it("has OpenAI's defaults", () => {
    expect(read({})).toEqual({
      maxTokens: undefined,
      stop: [],
      stream: false,
      includeUsage: false,
      sampling: { temperature: 1, topK: 0, topP: 1, minP: 0, seed: 77n },
      session: undefined,
      reuse: undefined,
      ignoreEndOfGeneration: false,
    });
    expect(read({ temperature: null, stop: null, stream_options: null, seed: null, foo: null })).toEqual(
      read({}),
    );
  });

  it("reads what it is given", () => {
    expect(
      read({
        max_completion_tokens: 5,
        temperature: 0,
        top_p: 0.5,
        top_k: -1,
        min_p: 0.1,
        seed: -1,
        stop: ["a", "b"],
        stream: true,
        stream_options: { include_usage: true },
        prompt_cache_key: "chat-1",
        kvpage: { reuse: "unlikely" },
        ignore_eos: true,
        user: "somebody",
        store: false,
        metadata: { a: "b" },
      }),
    ).toEqual({
      maxTokens: 5,
      stop: ["a", "b"],
      stream: true,
      includeUsage: true,
      sampling: { temperature: 0, topK: 0, topP: 0.5, minP: 0.1, seed: 2n ** 64n - 1n },
      session: "chat-1",
      reuse: "unlikely",
      ignoreEndOfGeneration: true,
    });
    expect(read({ stop: "x" }).stop).toEqual(["x"]);
    expect(read({ max_tokens: 3, max_completion_tokens: 3 }).maxTokens).toBe(3);
  });

  it("accepts what asks for nothing", () => {
    const idle = { n: 1, best_of: 1, frequency_penalty: 0, presence_penalty: 0, logit_bias: {}, tools: [] };
    expect(read({ ...idle, echo: false, suffix: "", response_format: { type: "text" } })).toEqual(read({}));
  });

  it.each([
    ["temperature", "hot"],
    ["temperature", -1],
    ["temperature", 1e9],
    ["top_p", 0],
    ["top_p", 1.5],
    ["top_k", 0.5],
    ["top_k", -2],
    ["min_p", 1],
    ["seed", 1.5],
    ["seed", "1"],
    ["max_tokens", 0],
    ["max_completion_tokens", "9"],
    ["stop", ""],
    ["stop", ["a", "b", "c", "d", "e"]],
    ["stop", [1]],
    ["stop", "\ud800"],
    ["stream", 1],
    ["ignore_eos", "yes"],
    ["prompt_cache_key", ""],
    ["prompt_cache_key", "k".repeat(600)],
    ["kvpage", true],
    ["n", 2],
    ["best_of", 3],
    ["echo", true],
    ["logit_bias", { 5: 1 }],
    ["tools", [{ type: "function" }]],
    ["response_format", { type: "json_object" }],
    ["frequency_penalty", 0.5],
    ["temprature", 0.5],
  ])("refuses %s = %j by name and value", (field, value) => {
    const shown = JSON.stringify(value).slice(0, 50);
    const attempt = () => read({ [field]: value });
    expect(attempt).toThrow(`${field} is ${shown}`);
    expect(attempt).toThrow("; expected ");
    expect(attempt).toThrow(expect.objectContaining({ param: field }));
  });

  it("names nested fields", () => {
    expect(() => read({ kvpage: { reuse: "maybe" } })).toThrow(
      'kvpage.reuse is "maybe"; expected "likely" or "unlikely"',
    );
    expect(() => read({ kvpage: { pin: 1 } })).toThrow("kvpage.pin is 1; expected no such field");
    expect(() => read({ stream: true, stream_options: { include_usage: 1 } })).toThrow(
      "stream_options.include_usage is 1",
    );
    expect(() => read({ stream_options: {} })).toThrow("stream_options is {}; expected stream to be true");
    expect(() => read({ max_tokens: 3, max_completion_tokens: 4 })).toThrow("max_tokens is 3");
    expect(() => new Fields([])).toThrow("the body is []; expected a JSON object");
  });
});
