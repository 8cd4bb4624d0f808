import { malformed } from "./errors.ts";
import { float64Column, uint32Column } from "./growing-column.ts";
import { parseObject, requireIds, requireNumber } from "./json-line.ts";
import { isBlank } from "./lines.ts";
import type { Trace } from "./trace.ts";

/**
 * Mooncake's JSONL (FAST'25): `timestamp` in milliseconds and `hash_ids`, one id per block of 512 tokens, global
 * and chained to the prefix. A line is a request; its blocks are its pages.
 */
export async function readMooncake(name: string, batches: AsyncIterable<string[]>): Promise<Trace> {
  const idOf = new Map<number, number>();
  const ids = uint32Column();
  const offsets = uint32Column();
  const times = float64Column();
  const seenIn = uint32Column(); // by page: the number, from 1, of the last request with it
  offsets.push(0);
  let line = 0;
  for await (const batch of batches) {
    for (const text of batch) {
      line++;
      if (isBlank(text)) continue;
      const place = { file: name, line };
      const request = parseObject(place, text);
      const hashes = requireIds(place, "hash_ids", request["hash_ids"]);
      for (const [i, hash] of hashes.entries()) {
        let id = idOf.get(hash);
        if (id === undefined) {
          id = idOf.size;
          idOf.set(hash, id);
          seenIn.push(0);
        }
        const seen = seenIn.values();
        if (seen[id] === offsets.length)
          throw malformed(place, `hash_ids[${i}]`, hash, "an id once per request");
        seen[id] = offsets.length;
        ids.push(id);
      }
      offsets.push(ids.length);
      times.push(requireNumber(place, "timestamp", request["timestamp"]));
    }
  }
  return {
    name,
    format: "mooncake",
    pages: idOf.size,
    ids: ids.values(),
    offsets: offsets.values(),
    timesMs: times.values(),
  };
}
