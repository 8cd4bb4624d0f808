import { Lfd } from "./lfd.ts";
import type { Bit, Policy } from "./policy.ts";
import { requireGroupsFit, type PageTrace } from "./trace.ts";

export interface SimulationResult {
  readonly requests: number;
  readonly accesses: number;
  /** Accesses to pages that were not resident. */
  readonly faults: number;
  /** Accesses to resident pages: accesses − faults. */
  readonly hits: number;
  /** Hits in the leading run of resident pages of their request: what a KV cache can use. */
  readonly prefixHits: number;
}

export interface SimulationHooks {
  /** Access `access` touches its page; the bit may have been changed by the caller. */
  readonly onTouch?: (page: number, access: number) => void;
  readonly onEvict?: (page: number) => void;
}

/**
 * Replays a trace through a policy. A request pins its resident pages, then touches all of its pages, deepest first,
 * evicting for each that is missing; only then may any of them go again.
 *
 * @param bits one bit per access, or a constant for all.
 * @throws PagingError KVPAGE_GROUP_TOO_LARGE
 */
export function simulate(
  trace: PageTrace,
  policy: Policy,
  bits: Uint8Array | Bit,
  hooks: SimulationHooks = {},
): SimulationResult {
  requireGroupsFit(trace, policy.capacity);
  const { ids, offsets } = trace;
  const requests = offsets.length - 1;
  const nextRequests = policy instanceof Lfd ? nextUses(trace) : undefined;
  let faults = 0;
  let prefixHits = 0;
  for (let r = 0; r < requests; r++) {
    const start = offsets[r]!;
    const end = offsets[r + 1]!;
    const single = end - start === 1;
    let leading = true;
    for (let i = start; i < end; i++) {
      const page = ids[i]!;
      const resident = policy.has(page);
      leading &&= resident;
      if (leading) prefixHits++;
      if (resident && !single) policy.pin(page);
    }
    for (let i = end - 1; i >= start; i--) {
      const page = ids[i]!;
      const resident = policy.has(page);
      if (!resident) {
        faults++;
        if (policy.size === policy.capacity) {
          const victim = policy.victim();
          hooks.onEvict?.(victim);
        }
      }
      if (nextRequests !== undefined) (policy as Lfd).foresee(page, nextRequests[i]!, i - start);
      policy.touch(page, typeof bits === "number" ? bits : (bits[i] as Bit), i + 1 < end ? ids[i + 1]! : -1);
      hooks.onTouch?.(page, i);
      if (!resident && !single) policy.pin(page);
    }
    if (!single) for (let i = end - 1; i >= start; i--) policy.unpin(ids[i]!);
  }
  return { requests, accesses: ids.length, faults, hits: ids.length - faults, prefixHits };
}

/** For each access, the request at which its page is next touched; Infinity: never again. O(accesses). */
export function nextUses(trace: PageTrace): Float64Array {
  const { ids, offsets, pages } = trace;
  const next = new Float64Array(ids.length);
  const upcoming = new Float64Array(pages).fill(Infinity);
  for (let r = offsets.length - 2; r >= 0; r--) {
    for (let i = offsets[r]!; i < offsets[r + 1]!; i++) {
      const page = ids[i]!;
      next[i] = upcoming[page]!;
      upcoming[page] = r;
    }
  }
  return next;
}
