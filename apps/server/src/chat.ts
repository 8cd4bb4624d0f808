import type { ChatMessage } from "@kvpage/runner";
import type { FastifyInstance } from "fastify";
import type { AnswerPart } from "./answer.ts";
import { Fields, invalidField } from "./fields.ts";
import { type Call, respond, type Serving } from "./generation.ts";
import { chatLogprobs } from "./logprobs.ts";
import { checkModel } from "./models.ts";
import type { AnswerFormat } from "./output.ts";
import { readParameters } from "./parameters.ts";
import type { ServerModel } from "./ports.ts";

export function chat(app: FastifyInstance, serving: Serving): void {
  app.post("/v1/chat/completions", async (request, reply) => {
    const call = readChat(request.body, serving);
    return respond(serving, request, reply, call, chatFormat(serving.model, call));
  });
}

function readChat(body: unknown, serving: Serving): Call {
  const fields = new Fields(body);
  checkModel(fields, serving.modelId);
  const messages = readMessages(fields.raw("messages"));
  const topLogprobs = readTopLogprobs(fields);
  const parameters = readParameters(fields, serving.defaultSeed);
  fields.finish();
  const { model } = serving;
  const text = model.applyChatTemplate(messages, { addGenerationPrompt: true });
  const prompt = model.tokenizeChat(text);
  if (prompt.length === 0) throw invalidField("messages", messages, "at least one token");
  return { prompt, promptField: "messages", parameters, topLogprobs };
}

function readTopLogprobs(fields: Fields): number | undefined {
  const logprobs = fields.boolean("logprobs") ?? false;
  const topLogprobs = fields.integer("top_logprobs", 0, 20);
  if (topLogprobs !== undefined && !logprobs) {
    throw fields.invalid("top_logprobs", topLogprobs, "logprobs to be true beside it");
  }
  return logprobs ? (topLogprobs ?? 0) : undefined;
}

function readMessages(value: unknown): ChatMessage[] {
  if (!Array.isArray(value) || value.length === 0) {
    throw invalidField("messages", value, "an array of at least one message");
  }
  return value.map((message: unknown, i) => readMessage(new Fields(message, `messages[${i}]`)));
}

function readMessage(fields: Fields): ChatMessage {
  const role = fields.oneOf("role", ["system", "developer", "user", "assistant"]);
  if (role === undefined) throw fields.invalid("role", undefined, "system, developer, user or assistant");
  const content = readContent(fields);
  // What clients send along when they return an answer as they got it.
  fields.neutral("tool_calls", []);
  fields.neutral("annotations", []);
  fields.finish();
  // Templates know the newer name's older one.
  return { role: role === "developer" ? "system" : role, content };
}

function readContent(fields: Fields): string {
  const content = fields.raw("content");
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) {
    throw fields.invalid("content", content, 'a string or an array of {"type": "text", "text": …}');
  }
  const parts = content.map((value: unknown, i) => {
    const part = new Fields(value, `${fields.name("content")}[${i}]`);
    const type = part.raw("type");
    if (type !== "text") throw part.invalid("type", type, '"text": other content is not supported');
    const text = part.raw("text");
    if (typeof text !== "string") throw part.invalid("text", text, "a string");
    part.finish();
    return text;
  });
  return parts.join("\n");
}

function chatFormat(model: ServerModel, call: Call): AnswerFormat {
  const logprobs = (part: AnswerPart) => (call.topLogprobs === undefined ? null : chatLogprobs(model, part));
  const choice = (delta: object, part: AnswerPart | undefined, finishReason: string | null) => ({
    index: 0,
    delta,
    logprobs: part === undefined ? null : logprobs(part),
    finish_reason: finishReason,
  });
  return {
    idPrefix: "chatcmpl",
    object: "chat.completion",
    chunkObject: "chat.completion.chunk",
    opening: choice({ role: "assistant", content: "", refusal: null }, undefined, null),
    chunk: (part) => choice({ content: part.text }, part, null),
    closing: (finishReason) => choice({}, undefined, finishReason),
    whole: (part, finishReason) => ({
      index: 0,
      message: { role: "assistant", content: part.text, refusal: null },
      logprobs: logprobs(part),
      finish_reason: finishReason,
    }),
  };
}
