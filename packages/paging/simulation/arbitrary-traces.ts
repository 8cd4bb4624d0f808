import fc from "fast-check";
import { type PageTrace, singlePageTrace } from "../src/trace.ts";

/** Requests of single pages out of at most 6. */
export function singlePageTraces(maxLength: number): fc.Arbitrary<PageTrace> {
  const pages = fc.integer({ min: 2, max: 6 });
  return pages.chain((count) =>
    fc
      .array(fc.integer({ min: 0, max: count - 1 }), { minLength: 1, maxLength })
      .map((ids) => singlePageTrace(Uint32Array.from(ids), count)),
  );
}

/** Requests of up to `largest` pages out of 6, in any order within a request. */
export function groupTraces(maxRequests: number, largest: number): fc.Arbitrary<PageTrace> {
  const request = fc.uniqueArray(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: largest });
  return fc.array(request, { minLength: 1, maxLength: maxRequests }).map((requests) => grouped(requests, 6));
}

/** Requests that are paths from the root of a tree of 8 nodes, as the turns of conversations are. */
export function pathTraces(maxRequests: number, deepest: number): fc.Arbitrary<PageTrace> {
  const parents = fc.tuple(...Array.from({ length: 8 }, (_, node) => fc.integer({ min: -1, max: node - 1 })));
  const leaves = fc.array(fc.integer({ min: 0, max: 7 }), { minLength: 1, maxLength: maxRequests });
  return fc.tuple(parents, leaves).map(([parent, nodes]) => {
    const path = (node: number): number[] => (node < 0 ? [] : [...path(parent[node]!), node]);
    return grouped(
      nodes.map((node) => path(node).slice(0, deepest)),
      8,
    );
  });
}

export function grouped(requests: readonly (readonly number[])[], pages: number): PageTrace {
  const offsets = new Uint32Array(requests.length + 1);
  for (const [r, request] of requests.entries()) offsets[r + 1] = offsets[r]! + request.length;
  return { pages, ids: Uint32Array.from(requests.flat()), offsets };
}

/** One bit per access. */
export function bitsFor(trace: PageTrace): fc.Arbitrary<Uint8Array> {
  const { length } = trace.ids;
  return fc
    .array(fc.integer({ min: 0, max: 1 }), { minLength: length, maxLength: length })
    .map((bits) => Uint8Array.from(bits));
}
