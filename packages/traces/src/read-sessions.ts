import { malformed, type LinePlace, TraceError } from "./errors.ts";
import { isObject, parseObject, requireArray, requireIds, requireNumber } from "./json-line.ts";
import { isBlank } from "./lines.ts";

/** One conversation, flattened: its requests in the order of their completion. */
export interface Session {
  /** Completion of each request in ms since the session's start, ascending; a request is stamped at this instant. */
  readonly completedMs: Float64Array;
  /** Pages of request k: pageIds[offsets[k]] … pageIds[offsets[k + 1] − 1], dense ids of this session. */
  readonly pageIds: Uint32Array;
  readonly offsets: Uint32Array;
  /** Distinct pages. */
  readonly pages: number;
}

/**
 * Claude Code sessions: one a line, with `block_size` tokens per block and `requests`, each with `t` and `api_time`
 * in seconds and a hash per full block of its prompt, chained to all blocks before it. An entry of type `subagent`
 * holds requests of its own, whose times count from the entry's.
 *
 * @param pageTokens tokens of a page, a multiple of the block size; what does not fill a page is dropped.
 */
export async function readSessions(
  name: string,
  batches: AsyncIterable<string[]>,
  pageTokens: number,
): Promise<Session[]> {
  const sessions: Session[] = [];
  let line = 0;
  for await (const batch of batches) {
    for (const text of batch) {
      line++;
      if (!isBlank(text)) sessions.push(readSession({ file: name, line }, text, pageTokens));
    }
  }
  return sessions;
}

interface FlatRequest {
  /** Where it stands in its line, for messages. */
  readonly field: string;
  readonly completedMs: number;
  readonly hashes: readonly number[];
}

function readSession(place: LinePlace, text: string, pageTokens: number): Session {
  const session = parseObject(place, text);
  const blockTokens = requireNumber(place, "block_size", session["block_size"]);
  const blocksPerPage = pageTokens / blockTokens;
  if (!Number.isSafeInteger(blocksPerPage) || blocksPerPage < 1) {
    throw new TraceError(
      "KVPAGE_INVALID_ARGUMENT",
      `pageTokens is ${pageTokens}; expected a multiple of ${place.file}'s block of ${blockTokens} tokens`,
    );
  }
  const requests: FlatRequest[] = [];
  const entries = requireArray(place, "requests", session["requests"]);
  for (const [i, entry] of entries.entries()) {
    const field = `requests[${i}]`;
    if (!isObject(entry)) throw malformed(place, field, entry, "an object");
    if (entry["type"] !== "subagent") {
      requests.push(readRequest(place, field, entry, 0));
      continue;
    }
    const start = requireNumber(place, `${field}.t`, entry["t"]);
    const own = requireArray(place, `${field}.requests`, entry["requests"]);
    for (const [j, request] of own.entries()) {
      const inner = `${field}.requests[${j}]`;
      if (!isObject(request)) throw malformed(place, inner, request, "an object");
      requests.push(readRequest(place, inner, request, start));
    }
  }
  // Sorting is stable: requests that complete together stay in document order.
  requests.sort((a, b) => a.completedMs - b.completedMs);
  return pack(place, requests, blocksPerPage);
}

function readRequest(
  place: LinePlace,
  field: string,
  request: Record<string, unknown>,
  startSeconds: number,
): FlatRequest {
  const sent = startSeconds + requireNumber(place, `${field}.t`, request["t"]);
  const took =
    request["api_time"] == null ? 0 : requireNumber(place, `${field}.api_time`, request["api_time"]);
  return {
    field,
    completedMs: roundHalfEven(1000 * sent) + roundHalfEven(1000 * took),
    hashes: requireIds(place, `${field}.hash_ids`, request["hash_ids"]),
  };
}

function pack(place: LinePlace, requests: readonly FlatRequest[], blocksPerPage: number): Session {
  const offsets = new Uint32Array(requests.length + 1);
  for (const [k, { hashes }] of requests.entries()) {
    offsets[k + 1] = offsets[k]! + Math.floor(hashes.length / blocksPerPage);
  }
  const pageIds = new Uint32Array(offsets[requests.length]!);
  const idOf = new Map<number, number>();
  const lastIn: number[] = []; // by page: the index of the last request with it
  let filled = 0;
  for (const [k, { field, hashes }] of requests.entries()) {
    for (let i = blocksPerPage - 1; i < hashes.length; i += blocksPerPage) {
      let id = idOf.get(hashes[i]!);
      if (id === undefined) {
        id = idOf.size;
        idOf.set(hashes[i]!, id);
      }
      if (lastIn[id] === k) {
        throw malformed(place, `${field}.hash_ids[${i}]`, hashes[i], "an id once per request");
      }
      lastIn[id] = k;
      pageIds[filled++] = id;
    }
  }
  return {
    completedMs: Float64Array.from(requests, (request) => request.completedMs),
    pageIds,
    offsets,
    pages: idOf.size,
  };
}

function roundHalfEven(value: number): number {
  const below = Math.floor(value);
  const fraction = value - below;
  if (fraction !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}
