import type { FastifyReply } from "fastify";
import type { ErrorBody } from "./errors.ts";

/**
 * Server-sent events as OpenAI's clients read them. The response begins with the first event, so that a failure
 * before it can still be an HTTP error.
 */
export class EventStream {
  readonly #reply: FastifyReply;
  #open = false;

  constructor(reply: FastifyReply) {
    this.#reply = reply;
  }

  get open(): boolean {
    return this.#open;
  }

  send(data: object): void {
    this.#write(JSON.stringify(data));
  }

  end(): void {
    this.#write("[DONE]");
    this.#reply.raw.end();
  }

  /** Ends a stream that has begun; clients raise the error. */
  fail(body: ErrorBody): void {
    this.send(body);
    this.#reply.raw.end();
  }

  #write(data: string): void {
    const { raw } = this.#reply;
    if (!this.#open) {
      this.#open = true;
      this.#reply.hijack();
      raw.writeHead(200, {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-cache",
        // nginx would otherwise collect the events.
        "x-accel-buffering": "no",
      });
    }
    // What a slow reader leaves unread is bounded by the answer's length.
    raw.write(`data: ${data}\n\n`);
  }
}
