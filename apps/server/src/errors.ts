/** HTTP status of each failure of a request, whichever package it comes from. */
const statuses = {
  /** A field has a value that cannot be used. */
  KVPAGE_INVALID_REQUEST: 400,
  /** A field of the API that this server does not implement, or does not know. */
  KVPAGE_UNSUPPORTED_PARAMETER: 400,
  /** `model` names something else than what is served. */
  KVPAGE_MODEL_NOT_FOUND: 404,
  /** No such path. */
  KVPAGE_NOT_FOUND: 404,
  /** The path exists, for another method. */
  KVPAGE_METHOD_NOT_ALLOWED: 405,
  /** The body is longer than the server reads. */
  KVPAGE_BODY_TOO_LARGE: 413,
  /** The body is not application/json. */
  KVPAGE_UNSUPPORTED_MEDIA_TYPE: 415,
  /** The server is stopping. */
  KVPAGE_DRAINING: 503,
  /** A fault of the server itself; its log says more. */
  KVPAGE_INTERNAL: 500,
} as const;

/** Failures of the packages below that a client may cause or should be told of. */
const statusesBelow: Readonly<Record<string, number>> = {
  KVPAGE_INVALID_ARGUMENT: 400,
  KVPAGE_CONTEXT_EXCEEDED: 400,
  KVPAGE_REQUEST_TOO_LARGE: 400,
  KVPAGE_CHAT_TEMPLATE: 400,
  KVPAGE_ABORTED: 503,
  KVPAGE_CLOSED: 503,
  KVPAGE_STEP_FAILED: 500,
};

/** The field to blame where the code says it. */
const blamed: Readonly<Record<string, string>> = { KVPAGE_CHAT_TEMPLATE: "messages" };

/** Codes of {@link ServerError}: those of a request, and two that end the start. */
export type ServerErrorCode =
  | keyof typeof statuses
  /** A flag, environment variable or configuration file cannot be used (exit 1). */
  | "KVPAGE_CONFIGURATION"
  /** The port or the memory cannot be had (exit 2). */
  | "KVPAGE_UNAVAILABLE";

/** The one error class of this package; match on `code`, which is stable, not on the message. */
export class ServerError extends Error {
  override readonly name = "ServerError";
  readonly code: ServerErrorCode;
  /** The field of the request, as in `messages[0].role`. */
  readonly param: string | undefined;

  constructor(code: ServerErrorCode, message: string, options: ErrorOptions & { param?: string } = {}) {
    super(message, options);
    this.code = code;
    this.param = options.param;
  }
}

/** What OpenAI's clients read of a failure. */
export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: "invalid_request_error" | "server_error";
    readonly param: string | null;
    readonly code: string;
  };
}

/** Any failure as status and body. `param` is the field to blame when the failure names none. */
export function describeFailure(error: unknown, param?: string): { status: number; body: ErrorBody } {
  const failure = error instanceof ServerError ? error : fromFastify(error);
  const code = failure?.code ?? codeOf(error);
  const status = statuses[code as keyof typeof statuses] ?? statusesBelow[code] ?? 500;
  if (failure === undefined && statusesBelow[code] === undefined) {
    return describeFailure(
      new ServerError("KVPAGE_INTERNAL", "an internal error; the server's log says more"),
    );
  }
  return {
    status,
    body: {
      error: {
        message: (failure ?? (error as Error)).message,
        type: status < 500 ? "invalid_request_error" : "server_error",
        param: failure?.param ?? blamed[code] ?? (status === 400 ? param : undefined) ?? null,
        code,
      },
    },
  };
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : "";
}

/** fastify's own refusals, all of them before a handler ran, in our words. */
function fromFastify(error: unknown): ServerError | undefined {
  const status = (error as { statusCode?: unknown } | null)?.statusCode;
  const { message } = error as Error;
  switch (codeOf(error)) {
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return new ServerError(
        "KVPAGE_BODY_TOO_LARGE",
        `the body is too large; expected at most ${bodyBytesMax} bytes`,
      );
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE":
      return new ServerError("KVPAGE_UNSUPPORTED_MEDIA_TYPE", "content-type must be application/json");
    case "FST_ERR_CTP_INVALID_JSON_BODY":
      return new ServerError("KVPAGE_INVALID_REQUEST", "the body is not JSON; expected a JSON object");
    case "FST_ERR_CTP_EMPTY_JSON_BODY":
      return new ServerError("KVPAGE_INVALID_REQUEST", "the body is empty; expected a JSON object");
  }
  if (typeof status !== "number" || status < 400 || status >= 500) return undefined;
  return new ServerError("KVPAGE_INVALID_REQUEST", `the request cannot be read: ${message}`);
}

/** Longest body that is read: a context of 128 Ki tokens fits several times, as text or as token ids. */
export const bodyBytesMax = 4 * 1024 * 1024;
