/** Codes of {@link PagingError}. */
export type PagingErrorCode =
  /** An option or argument has a value that cannot be used. */
  | "KVPAGE_INVALID_ARGUMENT"
  /** No policy or predictor has this name; the message lists those that exist. */
  | "KVPAGE_UNKNOWN_NAME"
  /** The policy or predictor needs to know the whole trace in advance. */
  | "KVPAGE_NEEDS_FUTURE"
  /** A group request is larger than the cache. */
  | "KVPAGE_GROUP_TOO_LARGE"
  /** `touch` of a new page while the cache is full: make room with `victim` first. */
  | "KVPAGE_CACHE_FULL"
  /** The page is not resident, or not pinned. */
  | "KVPAGE_NOT_RESIDENT"
  /** checkIntegrity() found a broken invariant. */
  | "KVPAGE_INTEGRITY";

/** The one error class of this package; match on `code`, which is stable, not on the message. */
export class PagingError extends Error {
  override readonly name = "PagingError";
  readonly code: PagingErrorCode;

  constructor(code: PagingErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

export function requireInteger(field: string, value: number, minimum: number, maximum: number): number {
  if (!Number.isSafeInteger(value) || value < minimum || value > maximum) {
    throw new PagingError(
      "KVPAGE_INVALID_ARGUMENT",
      `${field} is ${value}; expected an integer of ${minimum}..${maximum}`,
    );
  }
  return value;
}
