/** Codes of {@link TraceError}. */
export type TraceErrorCode =
  /** The file cannot be opened or read. */
  | "KVPAGE_TRACE_UNREADABLE"
  /** A line, or a member of an archive, is not what the format says; the message gives place, field and value. */
  | "KVPAGE_TRACE_MALFORMED"
  /** No reader knows the format. */
  | "KVPAGE_TRACE_FORMAT"
  /** An option has a value that cannot be used. */
  | "KVPAGE_INVALID_ARGUMENT";

/** The one error class of this package; match on `code`, which is stable, not on the message. */
export class TraceError extends Error {
  override readonly name = "TraceError";
  readonly code: TraceErrorCode;

  constructor(code: TraceErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Where a reader is: what a message about a bad line begins with. */
export interface LinePlace {
  readonly file: string;
  /** From 1. */
  readonly line: number;
}

/** @param expected what the field should be, such as "an array of integers ≥ 0". */
export function malformed(place: LinePlace, field: string, value: unknown, expected: string): TraceError {
  return new TraceError(
    "KVPAGE_TRACE_MALFORMED",
    `${place.file}:${place.line}: ${field} is ${shown(value)}; expected ${expected}`,
  );
}

function shown(value: unknown): string {
  if (value === undefined) return "missing";
  const text = JSON.stringify(value);
  return text.length <= 60 ? text : `${text.slice(0, 57)}...`;
}
