/**
 * A sequence of requests in columns. Request r is for the pages `ids[offsets[r]] … ids[offsets[r + 1] − 1]`, all at
 * once, the first of a prefix first; the pages of a request are distinct. Ids are dense, 0..pages − 1, in the order
 * of first use.
 */
export interface Trace {
  /** The file, and the member if it lies in an archive: `archive.zip!folder/member.txt`. */
  readonly name: string;
  readonly format: TraceFormat;
  /** Distinct pages. */
  readonly pages: number;
  readonly ids: Uint32Array;
  /** One entry more than there are requests. */
  readonly offsets: Uint32Array;
  /** Milliseconds since the start, one per request, if the format says. */
  readonly timesMs?: Float64Array | undefined;
  /** What merging found out, of session traces. */
  readonly merge?: MergeFacts | undefined;
}

/** Facts of a merged stream by which two implementations can be compared. */
export interface MergeFacts {
  readonly sessions: number;
  /** The stream ends here: the earliest time at which a slot found no session left. */
  readonly endMs: number;
  /** Over time, instance and number of every request, in order. */
  readonly checksum: number;
}

/** Formats that can be read. */
export const traceFormats = ["ids", "mooncake", "claude-code"] as const;
export type TraceFormat = (typeof traceFormats)[number];

/** Mean over the requests of the pages that have been used and will be used again: what is worth keeping, L. */
export function meanLivePages(trace: Trace): number {
  const { ids, offsets, pages } = trace;
  const requests = offsets.length - 1;
  const first = new Int32Array(pages).fill(-1);
  const last = new Int32Array(pages);
  let live = 0;
  for (let r = 0; r < requests; r++) {
    for (let i = offsets[r]!; i < offsets[r + 1]!; i++) {
      const page = ids[i]!;
      if (first[page]! < 0) first[page] = r;
      last[page] = r;
    }
  }
  for (let page = 0; page < pages; page++) live += last[page]! - first[page]!;
  return requests === 0 ? 0 : live / requests;
}

/** Pages of the largest request: no cache can be smaller. */
export function largestRequest(trace: Trace): number {
  const { offsets } = trace;
  let largest = 0;
  for (let r = 0; r + 1 < offsets.length; r++) largest = Math.max(largest, offsets[r + 1]! - offsets[r]!);
  return largest;
}
