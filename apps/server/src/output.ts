import type { GenerationResult } from "@kvpage/engine";
import type { FastifyReply } from "fastify";
import type { AnswerPart } from "./answer.ts";
import type { ErrorBody } from "./errors.ts";
import { EventStream } from "./sse.ts";

export type FinishReason = GenerationResult["finishReason"];

/** How an endpoint writes an answer: the entry of `choices` in its objects. */
export interface AnswerFormat {
  readonly idPrefix: string;
  readonly object: string;
  readonly chunkObject: string;
  /** The first choice of a stream, if it begins with one of its own. */
  readonly opening: object | undefined;
  chunk(part: AnswerPart): object;
  /** The last choice of a stream. */
  closing(finishReason: FinishReason): object;
  whole(part: AnswerPart, finishReason: FinishReason): object;
}

/** The fields that every object of an answer begins with. */
export interface AnswerHead {
  readonly id: string;
  readonly object: string;
  readonly created: number;
  readonly model: string;
}

/** Where the parts of an answer go. */
interface Output {
  part(part: AnswerPart): void;
  finish(rest: AnswerPart, result: GenerationResult, finishReason: FinishReason): void;
  fail(status: number, body: ErrorBody): void;
}

/** The answer as one JSON object, once it is complete. */
export class WholeAnswer implements Output {
  readonly #reply: FastifyReply;
  readonly #head: AnswerHead;
  readonly #format: AnswerFormat;
  readonly #parts: AnswerPart[] = [];

  constructor(reply: FastifyReply, head: AnswerHead, format: AnswerFormat) {
    this.#reply = reply;
    this.#head = head;
    this.#format = format;
  }

  part(part: AnswerPart): void {
    this.#parts.push(part);
  }

  finish(rest: AnswerPart, result: GenerationResult, finishReason: FinishReason): void {
    const parts = [...this.#parts, rest];
    const whole = { text: parts.map((p) => p.text).join(""), tokens: parts.flatMap((p) => p.tokens) };
    const choices = [this.#format.whole(whole, finishReason)];
    void this.#reply.send({ ...this.#head, choices, usage: usageOf(result) });
  }

  fail(status: number, body: ErrorBody): void {
    void this.#reply.code(status).send(body);
  }
}

/** The answer as events: one per part that has text, then the finish reason, then the usage if wanted. */
export class StreamedAnswer implements Output {
  readonly #events: EventStream;
  readonly #reply: FastifyReply;
  readonly #head: AnswerHead;
  readonly #format: AnswerFormat;
  readonly #includeUsage: boolean;

  constructor(reply: FastifyReply, head: AnswerHead, format: AnswerFormat, includeUsage: boolean) {
    this.#events = new EventStream(reply);
    this.#reply = reply;
    this.#head = head;
    this.#format = format;
    this.#includeUsage = includeUsage;
  }

  part(part: AnswerPart): void {
    const { opening } = this.#format;
    if (!this.#events.open && opening !== undefined) this.#send([opening], null);
    if (part.text !== "" || part.tokens.length > 0) this.#send([this.#format.chunk(part)], null);
  }

  finish(rest: AnswerPart, result: GenerationResult, finishReason: FinishReason): void {
    this.part(rest);
    this.#send([this.#format.closing(finishReason)], null);
    if (this.#includeUsage) this.#send([], usageOf(result));
    this.#events.end();
  }

  fail(status: number, body: ErrorBody): void {
    if (this.#events.open) this.#events.fail(body);
    else void this.#reply.code(status).send(body);
  }

  #send(choices: object[], usage: object | null): void {
    this.#events.send({ ...this.#head, choices, ...(this.#includeUsage ? { usage } : {}) });
  }
}

function usageOf(result: GenerationResult) {
  return {
    prompt_tokens: result.promptTokens,
    completion_tokens: result.tokens.length,
    total_tokens: result.promptTokens + result.tokens.length,
    prompt_tokens_details: { cached_tokens: result.cachedTokens },
  };
}
