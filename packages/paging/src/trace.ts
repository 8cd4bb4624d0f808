import { PagingError } from "./errors.ts";

/**
 * Requests in order, as columns. Request r touches the pages `ids[offsets[r]] … ids[offsets[r + 1] − 1]` at once, a
 * group, shallowest first; the pages of a request are distinct. Ids are dense: 0..pages − 1.
 */
export interface PageTrace {
  readonly pages: number;
  readonly ids: Uint32Array;
  /** One entry more than there are requests; a single-page trace has offsets 0, 1, 2, … */
  readonly offsets: Uint32Array;
}

/** A trace whose requests are single pages. */
export function singlePageTrace(ids: Uint32Array, pages: number): PageTrace {
  return { pages, ids, offsets: Uint32Array.from({ length: ids.length + 1 }, (_, i) => i) };
}

/** @throws PagingError KVPAGE_GROUP_TOO_LARGE naming the request */
export function requireGroupsFit(trace: PageTrace, capacity: number): void {
  const { offsets } = trace;
  for (let r = 0; r + 1 < offsets.length; r++) {
    const pages = offsets[r + 1]! - offsets[r]!;
    if (pages > capacity) {
      throw new PagingError(
        "KVPAGE_GROUP_TOO_LARGE",
        `capacity is ${capacity}; request ${r} touches ${pages} pages`,
      );
    }
  }
}
