import { EngineError } from "./errors.ts";

/** How the two memory budgets are cut into pages and windows. */
export interface MemoryPlan {
  /** Consecutive tokens of one page. */
  readonly pageTokens: number;
  /** Bytes of one page: K and V of `pageTokens` tokens for all layers. */
  readonly pageBytes: number;
  /** Bytes between consecutive tokens. */
  readonly rowBytes: number;
  /** Pages of device memory. */
  readonly pages: number;
  /** Pages of the host tier. */
  readonly hostPages: number;
  /** Windows: contiguous virtual ranges, each long enough for the longest sequence. */
  readonly windows: number;
  readonly windowPages: number;
}

export interface PlanOptions {
  readonly rowBytes: number;
  /** Smallest mappable unit in bytes. */
  readonly granularity: number;
  readonly kvMemoryBytes: number;
  readonly hostMemoryBytes: number;
  readonly contextTokens: number;
  readonly maxSequences: number;
  readonly pageTokens?: number | undefined;
}

/** Pages below this cost more per byte to map and to copy. */
const PAGE_BYTES_MIN = 256 * 1024;
/** Small models would otherwise get pages as long as a conversation. */
const PAGE_TOKENS_MAX = 64;

/**
 * Cuts the budgets into pages.
 *
 * @throws EngineError KVPAGE_INVALID_ARGUMENT for a page size that cannot be mapped,
 *   KVPAGE_BUDGET_TOO_SMALL when not one page fits.
 */
export function planMemory(options: PlanOptions): MemoryPlan {
  const { rowBytes, granularity, contextTokens } = options;
  requireInteger("contextTokens", contextTokens, 1);
  requireInteger("maxSequences", options.maxSequences, 1);
  requireInteger("kvMemoryBytes", options.kvMemoryBytes, 0);
  requireInteger("hostMemoryBytes", options.hostMemoryBytes, 0);

  // A page must be whole mapping units, or the rows of a window would not be evenly spaced.
  const unit = granularity / gcd(rowBytes, granularity);
  const pageTokens = options.pageTokens ?? defaultPageTokens(rowBytes, unit);
  requireInteger("pageTokens", pageTokens, 1);
  if (pageTokens % unit !== 0) {
    throw new EngineError(
      "KVPAGE_INVALID_ARGUMENT",
      `pageTokens is ${pageTokens}; with ${rowBytes} bytes per token and ${granularity}-byte mapping units ` +
        `it must be a multiple of ${unit}`,
    );
  }
  const pageBytes = pageTokens * rowBytes;
  const pages = Math.floor(options.kvMemoryBytes / pageBytes);
  if (pages < 1) {
    throw new EngineError(
      "KVPAGE_BUDGET_TOO_SMALL",
      `kvMemoryBytes is ${options.kvMemoryBytes}; one page of ${pageTokens} tokens needs ${pageBytes} bytes`,
    );
  }
  return {
    pageTokens,
    pageBytes,
    rowBytes,
    pages,
    hostPages: Math.floor(options.hostMemoryBytes / pageBytes),
    // Twice the running ones: idle conversations keep their mapping until a window is needed elsewhere.
    windows: 2 * options.maxSequences,
    windowPages: Math.ceil(contextTokens / pageTokens),
  };
}

function defaultPageTokens(rowBytes: number, unit: number): number {
  const wanted = Math.min(PAGE_TOKENS_MAX, Math.ceil(PAGE_BYTES_MIN / rowBytes));
  return Math.ceil(wanted / unit) * unit;
}

function requireInteger(field: string, value: number, minimum: number): void {
  if (!Number.isSafeInteger(value) || value < minimum) {
    throw new EngineError(
      "KVPAGE_INVALID_ARGUMENT",
      `${field} is ${value}; expected an integer ≥ ${minimum}`,
    );
  }
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
