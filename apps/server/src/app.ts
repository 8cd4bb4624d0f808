import {
  fastify,
  LogController,
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
} from "fastify";
import { chat } from "./chat.ts";
import { completions } from "./completions.ts";
import { bodyBytesMax, describeFailure, ServerError } from "./errors.ts";
import type { Serving } from "./generation.ts";
import { ServerMetrics } from "./metrics.ts";
import { models } from "./models.ts";

export interface AppOptions extends Omit<Serving, "metrics"> {
  readonly logger?: FastifyBaseLogger;
}

/** The HTTP server, and the way to stop it. */
export interface App {
  readonly http: FastifyInstance;
  /**
   * Refuses new requests, waits for the answers under way (`abort`: cuts them short), closes the engine and stops
   * listening. Until then the server goes on saying that it is stopping.
   */
  drain(): Promise<void>;
  abort(): Promise<void>;
}

export function createApp(options: AppOptions): App {
  const metrics = new ServerMetrics(options.engine, options.modelId);
  const serving: Serving = { ...options, metrics };
  const http = createHttp(options.logger);
  const state = { draining: false };
  const answers = trackAnswers(http);

  http.get("/health", (_request, reply) => {
    const { draining } = state;
    return reply.code(draining ? 503 : 200).send({ status: draining ? "draining" : "ok" });
  });
  http.get("/metrics", async (_request, reply) =>
    reply.type(metrics.registry.contentType).send(await metrics.registry.metrics()),
  );
  models(http, serving.modelId);
  void http.register((generating, _options, done) => {
    generating.addHook("onRequest", (_request, reply, next) => {
      if (!state.draining) return next();
      void reply.headers({ "retry-after": "5", connection: "close" });
      next(new ServerError("KVPAGE_DRAINING", "the server is stopping; try again later or elsewhere"));
    });
    completions(generating, serving);
    chat(generating, serving);
    done();
  });
  refuseUnknownPaths(http);

  const stop = async (drain: boolean) => {
    state.draining = true;
    await options.engine.close({ drain });
    await answers.sent();
    await http.close();
  };
  return { http, drain: () => stop(true), abort: () => options.engine.close({ drain: false }) };
}

function createHttp(logger: FastifyBaseLogger | undefined): FastifyInstance {
  const http = fastify({
    ...(logger === undefined ? {} : { loggerInstance: logger }),
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: bodyBytesMax,
    // For a request to arrive; not for its answer.
    requestTimeout: 60_000,
    forceCloseConnections: true,
    frameworkErrors: (error, _request, reply) => fail(error, reply),
    clientErrorHandler: (error, socket) => {
      if (error.code === "ECONNRESET" || !socket.writable) return;
      const { body } = describeFailure(
        new ServerError("KVPAGE_INVALID_REQUEST", `the request is not HTTP: ${error.message}`),
      );
      const text = JSON.stringify(body);
      socket.end(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json; charset=utf-8\r\n" +
          `content-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n${text}`,
      );
    },
  });
  http.removeContentTypeParser("text/plain");
  http.setErrorHandler((error, request, reply) => {
    if (describeFailure(error).status >= 500) request.log.error({ err: error }, "request failed");
    fail(error, reply);
  });
  return http;
}

function fail(error: unknown, reply: FastifyReply): void {
  const { status, body } = describeFailure(error);
  void reply.code(status).send(body);
}

/** Knows when all answers that were begun are with their clients, or the clients gone. */
function trackAnswers(http: FastifyInstance): { sent: () => Promise<void> } {
  const open = new Set<object>();
  let wake = () => {};
  http.addHook("onRequest", (_request, reply, done) => {
    open.add(reply.raw);
    reply.raw.once("close", () => {
      open.delete(reply.raw);
      wake();
    });
    done();
  });
  return {
    sent: async () => {
      while (open.size > 0) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}

function refuseUnknownPaths(http: FastifyInstance): void {
  const methods = ["GET", "POST"] as const;
  http.setNotFoundHandler((request, reply) => {
    const path = request.url.split("?", 1)[0]!;
    const allowed = methods.filter((method) => http.findRoute({ url: path, method }) !== null);
    if (allowed.length === 0) {
      throw new ServerError("KVPAGE_NOT_FOUND", `${path} is not served; see the server's README for what is`);
    }
    void reply.header("allow", allowed.join(", "));
    throw new ServerError(
      "KVPAGE_METHOD_NOT_ALLOWED",
      `${request.method} ${path} is not served; expected ${allowed.join(" or ")}`,
    );
  });
}
