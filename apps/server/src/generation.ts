import { randomUUID } from "node:crypto";
import type { GenerationRequest, GenerationResult } from "@kvpage/engine";
import type { FastifyReply, FastifyRequest } from "fastify";
import { Answer } from "./answer.ts";
import { describeFailure } from "./errors.ts";
import type { ServerMetrics } from "./metrics.ts";
import { type AnswerFormat, StreamedAnswer, WholeAnswer } from "./output.ts";
import type { Parameters } from "./parameters.ts";
import type { ServerEngine, ServerModel } from "./ports.ts";

/** What the endpoints share. */
export interface Serving {
  readonly engine: ServerEngine;
  readonly model: ServerModel;
  /** `model` of requests and answers. */
  readonly modelId: string;
  /** Longest sequence in tokens, prompt and answer together. */
  readonly contextTokens: number;
  readonly metrics: ServerMetrics;
  /** The seed of a request that names none. */
  readonly defaultSeed: () => bigint;
}

/** A request, understood. */
export interface Call {
  readonly prompt: Int32Array;
  /** The field that the prompt came from: what a prompt that does not fit is blamed on. */
  readonly promptField: "prompt" | "messages";
  readonly parameters: Parameters;
  /** As of the engine: unset = none. */
  readonly topLogprobs: number | undefined;
}

/** Generates the answer to a call and sends it, at once or as a stream. A client that leaves ends the generation. */
export async function respond(
  serving: Serving,
  request: FastifyRequest,
  reply: FastifyReply,
  call: Call,
  format: AnswerFormat,
): Promise<FastifyReply> {
  const { stream, stop, includeUsage } = call.parameters;
  const id = `${format.idPrefix}-${randomUUID().replaceAll("-", "")}`;
  const object = stream ? format.chunkObject : format.object;
  const head = { id, object, created: Math.floor(Date.now() / 1000), model: serving.modelId };
  const output = stream
    ? new StreamedAnswer(reply, head, format, includeUsage)
    : new WholeAnswer(reply, head, format);
  const answer = new Answer(serving.model, call.prompt, { stop, keepTokens: call.topLogprobs !== undefined });
  try {
    const result = await generate(serving, reply, call, (token) => {
      output.part(answer.push(token));
      return answer.stopped;
    });
    const rest = answer.finish();
    output.finish(rest, result, answer.stopped ? "stop" : result.finishReason);
    const { tokens, ...figures } = result;
    request.log.info({ id, ...figures, generatedTokens: tokens.length }, "answered");
  } catch (error) {
    if (reply.raw.destroyed) {
      request.log.info({ id }, "the client left");
      return reply.hijack();
    }
    const { status, body } = describeFailure(error, call.promptField);
    if (status >= 500) request.log.error({ id, err: error }, "generation failed");
    output.fail(status, body);
  }
  return reply;
}

async function generate(
  serving: Serving,
  reply: FastifyReply,
  call: Call,
  onToken: NonNullable<GenerationRequest["onToken"]>,
): Promise<GenerationResult> {
  const { engine, metrics } = serving;
  const { parameters, prompt, topLogprobs } = call;
  const { session, reuse, maxTokens, sampling, ignoreEndOfGeneration } = parameters;
  const disconnected = new AbortController();
  const onClose = () => {
    if (!reply.raw.writableFinished) disconnected.abort();
  };
  reply.raw.once("close", onClose);
  const times = metrics.request();
  try {
    const result = await engine.generate({
      prompt,
      maxTokens: maxTokens ?? roomFor(serving, prompt),
      sampling,
      ignoreEndOfGeneration,
      signal: disconnected.signal,
      ...(session === undefined ? {} : { session }),
      ...(reuse === undefined ? {} : { reuse }),
      ...(topLogprobs === undefined ? {} : { topLogprobs }),
      onToken: (token) => {
        times.token();
        return onToken(token);
      },
    });
    times.finish(result);
    return result;
  } finally {
    reply.raw.removeListener("close", onClose);
  }
}

/** Tokens that an answer without a limit of its own may have; at least one, so that a full context is refused. */
function roomFor({ engine, contextTokens }: Serving, prompt: Int32Array): number {
  const { pages, pageTokens } = engine.plan;
  return Math.max(1, Math.min(contextTokens, pages * pageTokens) - prompt.length);
}
