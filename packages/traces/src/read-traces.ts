import { TraceError } from "./errors.ts";
import { isObject } from "./json-line.ts";
import { isBlank, lineBatches } from "./lines.ts";
import { type MergeOptions, mergeSessions } from "./merge-sessions.ts";
import { readIds } from "./read-ids.ts";
import { readMooncake } from "./read-mooncake.ts";
import { readSessions } from "./read-sessions.ts";
import { openSources, type Source } from "./source.ts";
import { type Trace, type TraceFormat, traceFormats } from "./trace.ts";

export interface ReadOptions {
  /** `auto` (default) looks at the first line. */
  readonly format?: TraceFormat | "auto" | undefined;
  /** Of session traces: tokens of a page (default 512), a multiple of the trace's block. */
  readonly pageTokens?: number | undefined;
  /** Of session traces. */
  readonly merge?: MergeOptions | undefined;
  /** Of archives: only the members whose path this accepts (default all). */
  readonly member?: ((path: string) => boolean) | undefined;
}

/**
 * Reads the traces of a path one after the other: one for a file, one per member for a zip archive; `-` is standard
 * input. Sessions of one file become one merged trace.
 *
 * @throws TraceError KVPAGE_TRACE_UNREADABLE, KVPAGE_TRACE_MALFORMED, KVPAGE_TRACE_FORMAT, KVPAGE_INVALID_ARGUMENT
 */
export async function* readTraces(path: string, options: ReadOptions = {}): AsyncGenerator<Trace> {
  const { format = "auto", member } = options;
  if (format !== "auto" && !traceFormats.includes(format)) {
    throw new TraceError(
      "KVPAGE_INVALID_ARGUMENT",
      `format is "${format as string}"; expected one of auto, ${traceFormats.join(", ")}`,
    );
  }
  for await (const source of openSources(path)) {
    if (member !== undefined && source.name !== path && !member(source.name.slice(path.length + 1))) continue;
    yield await readTrace(source, options);
  }
}

async function readTrace(source: Source, options: ReadOptions): Promise<Trace> {
  const batches = lineBatches(source);
  const { format = "auto", pageTokens = 512 } = options;
  if (format === "auto") {
    const { detected, all } = await detect(source.name, batches);
    return read(detected, source.name, all, pageTokens, options.merge);
  }
  return read(format, source.name, batches, pageTokens, options.merge);
}

async function read(
  format: TraceFormat,
  name: string,
  batches: AsyncIterable<string[]>,
  pageTokens: number,
  merge: MergeOptions | undefined,
): Promise<Trace> {
  switch (format) {
    case "ids":
      return readIds(name, batches);
    case "mooncake":
      return readMooncake(name, batches);
    case "claude-code":
      return mergeSessions(name, await readSessions(name, batches, pageTokens), merge);
  }
}

async function detect(
  name: string,
  batches: AsyncGenerator<string[]>,
): Promise<{ detected: TraceFormat; all: AsyncIterable<string[]> }> {
  const seen: string[][] = [];
  for (;;) {
    const { value, done } = await batches.next();
    if (done === true) {
      throw new TraceError("KVPAGE_TRACE_MALFORMED", `${name} is empty; expected at least one line`);
    }
    seen.push(value);
    const line = value.find((text) => !isBlank(text));
    if (line !== undefined) return { detected: formatOf(name, line), all: chain(seen, batches) };
  }
}

async function* chain(first: readonly string[][], rest: AsyncIterable<string[]>): AsyncGenerator<string[]> {
  yield* first;
  yield* rest;
}

function formatOf(name: string, line: string): TraceFormat {
  if (/^\s*[^\s,;{}[\]"]+\s*$/.test(line)) return "ids";
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    // reported below
  }
  if (isObject(value)) {
    if ("hash_ids" in value && "timestamp" in value) return "mooncake";
    if ("requests" in value && "block_size" in value) return "claude-code";
  }
  throw new TraceError(
    "KVPAGE_TRACE_FORMAT",
    `${name}: the first line is in no known format (${traceFormats.join(", ")}): ${line.slice(0, 60)}`,
  );
}
