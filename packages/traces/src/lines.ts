import { TraceError } from "./errors.ts";
import type { Source } from "./source.ts";

/** Longer than any session of a real trace, and well below the longest string that JavaScript can hold. */
const maxLineCharacters = 1 << 28;

/** The lines of a source in batches, without line ends and without the empty last one. */
export async function* lineBatches(source: Source): AsyncGenerator<string[]> {
  const decoder = new TextDecoder();
  let parts: string[] = [];
  let partLength = 0;
  for await (const chunk of source.chunks) {
    const pieces = decoder.decode(chunk, { stream: true }).split("\n");
    const last = pieces.pop()!;
    if (pieces.length > 0) {
      pieces[0] = parts.join("") + pieces[0]!;
      parts = [];
      partLength = 0;
      yield pieces;
    }
    parts.push(last);
    partLength += last.length;
    if (partLength > maxLineCharacters) {
      throw new TraceError(
        "KVPAGE_TRACE_MALFORMED",
        `${source.name}: a line has more than ${maxLineCharacters} characters; expected one request or session a line`,
      );
    }
  }
  const rest = parts.join("") + decoder.decode();
  if (rest !== "") yield [rest];
}

/** Does the line hold anything? A file edited on Windows or by hand may have blank ones. */
export function isBlank(line: string): boolean {
  return line === "" || line === "\r" || line.trim() === "";
}
