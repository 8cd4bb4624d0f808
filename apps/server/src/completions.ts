import type { FastifyInstance } from "fastify";
import type { AnswerPart } from "./answer.ts";
import { Fields, invalidField } from "./fields.ts";
import { type Call, respond, type Serving } from "./generation.ts";
import { completionLogprobs } from "./logprobs.ts";
import { checkModel } from "./models.ts";
import type { AnswerFormat } from "./output.ts";
import { readParameters } from "./parameters.ts";
import type { ServerModel } from "./ports.ts";

/** OpenAI's default. */
const MAX_TOKENS_DEFAULT = 16;

export function completions(app: FastifyInstance, serving: Serving): void {
  app.post("/v1/completions", async (request, reply) => {
    const call = readCompletion(request.body, serving);
    return respond(serving, request, reply, call, completionFormat(serving.model, call));
  });
}

function readCompletion(body: unknown, serving: Serving): Call {
  const fields = new Fields(body);
  checkModel(fields, serving.modelId);
  const topLogprobs = fields.integer("logprobs", 0, 20);
  const prompt = fields.raw("prompt");
  const parameters = readParameters(fields, serving.defaultSeed);
  fields.finish();
  return {
    prompt: readPrompt(prompt, serving.model),
    promptField: "prompt",
    parameters: { ...parameters, maxTokens: parameters.maxTokens ?? MAX_TOKENS_DEFAULT },
    topLogprobs,
  };
}

/** A string, token ids, or an array of exactly one of these. */
function readPrompt(value: unknown, model: ServerModel): Int32Array {
  const prompt: unknown =
    Array.isArray(value) && value.length === 1 && typeof value[0] !== "number" ? value[0] : value;
  if (typeof prompt === "string") {
    const tokens = model.tokenize(prompt);
    if (tokens.length === 0) throw invalidField("prompt", prompt, "at least one token");
    return tokens;
  }
  if (!Array.isArray(prompt) || prompt.length === 0 || !prompt.every((token) => typeof token === "number")) {
    throw invalidField(
      "prompt",
      value,
      "a string, an array of token ids, or an array of exactly one of these",
    );
  }
  const { vocabulary } = model.info;
  const bad = prompt.findIndex((token) => !(Number.isInteger(token) && token >= 0 && token < vocabulary));
  if (bad >= 0) throw invalidField(`prompt[${bad}]`, prompt[bad], `a token id of 0..${vocabulary - 1}`);
  return Int32Array.from(prompt);
}

function completionFormat(model: ServerModel, call: Call): AnswerFormat {
  const choice = (part: AnswerPart, finishReason: string | null) => ({
    index: 0,
    text: part.text,
    logprobs: call.topLogprobs === undefined ? null : completionLogprobs(model, part),
    finish_reason: finishReason,
  });
  return {
    idPrefix: "cmpl",
    object: "text_completion",
    chunkObject: "text_completion",
    opening: undefined,
    chunk: (part) => choice(part, null),
    closing: (finishReason) => choice({ text: "", tokens: [] }, finishReason),
    whole: choice,
  };
}
