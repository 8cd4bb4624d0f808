/** Codes of {@link EngineError}. */
export type EngineErrorCode =
  /** An option or a field of a request has a value that cannot be used. */
  | "KVPAGE_INVALID_ARGUMENT"
  /** Prompt and answer together are longer than the context. */
  | "KVPAGE_CONTEXT_EXCEEDED"
  /** Prompt and answer together need more KV pages than the device budget holds, even alone. */
  | "KVPAGE_REQUEST_TOO_LARGE"
  /** The memory budgets cannot hold a useful number of pages. */
  | "KVPAGE_BUDGET_TOO_SMALL"
  /** The caller's AbortSignal fired. */
  | "KVPAGE_ABORTED"
  /** The engine is closing or closed. */
  | "KVPAGE_CLOSED"
  /** A native step failed; the message says why. */
  | "KVPAGE_STEP_FAILED";

/** The one error class of this package; match on `code`, which is stable, not on the message. */
export class EngineError extends Error {
  override readonly name = "EngineError";
  readonly code: EngineErrorCode;

  constructor(code: EngineErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
