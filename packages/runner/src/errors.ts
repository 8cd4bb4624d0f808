/** Codes of {@link RunnerError}. */
export type RunnerErrorCode =
  /** An argument has a type or value that cannot be used. */
  | "KVPAGE_INVALID_ARGUMENT"
  /** The model file cannot be opened. */
  | "KVPAGE_MODEL_NOT_FOUND"
  /** The file is not a sound GGUF model: truncated, a tensor missing or of the wrong shape, a bad value. */
  | "KVPAGE_MODEL_INVALID"
  /** The file is sound but asks for what is not implemented. */
  | "KVPAGE_MODEL_UNSUPPORTED"
  /** A model file could not be written. */
  | "KVPAGE_WRITE_FAILED"
  /** The memory cannot be had. */
  | "KVPAGE_OUT_OF_MEMORY"
  /** A step failed; the K/V rows that it was to write are undefined, all else is unchanged. */
  | "KVPAGE_STEP_FAILED"
  /** The model has no chat template, or the template refused the messages. */
  | "KVPAGE_CHAT_TEMPLATE"
  /** The model was disposed. */
  | "KVPAGE_DISPOSED"
  /** The native addon is not built for this platform. */
  | "KVPAGE_NO_NATIVE";

/** The one error class of this package; match on `code`, which is stable, not on the message. */
export class RunnerError extends Error {
  override readonly name = "RunnerError";
  readonly code: RunnerErrorCode;

  constructor(code: RunnerErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export function invalidArgument(field: string, value: unknown, expected: string): RunnerError {
  let shown: string;
  try {
    shown = String(value);
  } catch {
    shown = typeof value;
  }
  return new RunnerError("KVPAGE_INVALID_ARGUMENT", `${field} is ${shown}; expected ${expected}`);
}

export function requireInteger(field: string, value: number, minimum: number, maximum: number): number {
  if (!Number.isSafeInteger(value) || value < minimum || value > maximum) {
    throw invalidArgument(field, value, `an integer of ${minimum}..${maximum}`);
  }
  return value;
}

export function requireBoolean(field: string, value: boolean): boolean {
  if (typeof value !== "boolean") throw invalidArgument(field, value, "a boolean");
  return value;
}

export function requireObject<T extends object>(field: string, value: T): T {
  if (typeof value !== "object" || value === null) throw invalidArgument(field, value, "an object");
  return value;
}
