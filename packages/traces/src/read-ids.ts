import { malformed } from "./errors.ts";
import { uint32Column } from "./growing-column.ts";
import { isBlank } from "./lines.ts";
import type { Trace } from "./trace.ts";

/** Plain ids, one request of one page a line; an id is any word. */
export async function readIds(name: string, batches: AsyncIterable<string[]>): Promise<Trace> {
  const idOf = new Map<string, number>();
  const column = uint32Column();
  let line = 0;
  for await (const batch of batches) {
    for (const text of batch) {
      line++;
      if (isBlank(text)) continue;
      const word = text.trim();
      if (/[\s,;]/.test(word)) throw malformed({ file: name, line }, "the id", word, "one word a line");
      let id = idOf.get(word);
      if (id === undefined) {
        id = idOf.size;
        idOf.set(word, id);
      }
      column.push(id);
    }
  }
  const ids = column.values();
  const offsets = new Uint32Array(ids.length + 1);
  for (let r = 0; r < offsets.length; r++) offsets[r] = r;
  return { name, format: "ids", pages: idOf.size, ids, offsets };
}
