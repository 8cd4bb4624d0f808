/** Codes of {@link VAttentionError}. */
export type VAttentionErrorCode =
  /** An argument has a type or value that cannot be used. */
  | "KVPAGE_INVALID_ARGUMENT"
  /** The operating system refused the memory or the address space. */
  | "KVPAGE_OUT_OF_MEMORY"
  /** Fewer pages are free than wanted. */
  | "KVPAGE_OUT_OF_PAGES"
  /** Every page of the host tier is in use. */
  | "KVPAGE_OUT_OF_HOST_PAGES"
  /** Every window is open. */
  | "KVPAGE_OUT_OF_WINDOWS"
  /** The mapping would exceed the kernel's bound of areas (vm.max_map_count). */
  | "KVPAGE_OUT_OF_AREAS"
  /** The window is not open. */
  | "KVPAGE_WINDOW_CLOSED"
  /** The page has no reference. */
  | "KVPAGE_PAGE_FREE"
  /** The page is being copied. */
  | "KVPAGE_PAGE_IN_FLIGHT"
  /** The page's only references are mappings: truncate or close the window instead. */
  | "KVPAGE_PAGE_MAPPED"
  /** The bytes lie beyond the window's mapped length. */
  | "KVPAGE_NOT_MAPPED"
  /** The cache was disposed. */
  | "KVPAGE_DISPOSED"
  /** The native addon is not built for this platform. */
  | "KVPAGE_NO_NATIVE"
  /** checkIntegrity() found a broken invariant. */
  | "KVPAGE_INTEGRITY";

/** The one error class of this package; match on `code`, which is stable, not on the message. */
export class VAttentionError extends Error {
  override readonly name = "VAttentionError";
  readonly code: VAttentionErrorCode;

  constructor(code: VAttentionErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
