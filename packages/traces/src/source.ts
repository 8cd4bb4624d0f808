import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { basename } from "node:path";
import { createGunzip } from "node:zlib";
import { Unzip, UnzipInflate } from "fflate";
import { TraceError } from "./errors.ts";

/** Bytes of one trace as they come: a file, decompressed if need be, or a member of an archive. */
export interface Source {
  readonly name: string;
  readonly chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/**
 * The traces of a path: one for a file, one per member for a zip archive, in its order; `-` is standard input.
 * What is compressed is known by its first bytes, not by its name.
 *
 * @throws TraceError KVPAGE_TRACE_UNREADABLE
 */
export async function* openSources(path: string): AsyncGenerator<Source> {
  if (path === "-") {
    yield { name: "-", chunks: readable("-", process.stdin as AsyncIterable<Uint8Array>) };
    return;
  }
  const magic = await firstBytes(path);
  if (magic[0] === 0x1f && magic[1] === 0x8b) {
    const file = createReadStream(path);
    const gunzip = createGunzip();
    file.on("error", (error) => gunzip.destroy(error));
    yield { name: path, chunks: readable(path, file.pipe(gunzip)) };
  } else if (magic[0] === 0x50 && magic[1] === 0x4b) {
    yield* zipMembers(path);
  } else if (magic[0] === 0x28 && magic[1] === 0xb5 && magic[2] === 0x2f && magic[3] === 0xfd) {
    throw new TraceError(
      "KVPAGE_TRACE_FORMAT",
      `${path} is zstd; decompress it first: zstd -dc ${basename(path)} | …`,
    );
  } else {
    yield { name: path, chunks: readable(path, createReadStream(path, { highWaterMark: 1 << 20 })) };
  }
}

async function firstBytes(path: string): Promise<Uint8Array> {
  try {
    const file = await open(path);
    try {
      const bytes = new Uint8Array(4);
      await file.read(bytes, 0, 4, 0);
      return bytes;
    } finally {
      await file.close();
    }
  } catch (error) {
    throw unreadable(path, error);
  }
}

async function* readable(path: string, chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* chunks;
  } catch (error) {
    throw unreadable(path, error);
  }
}

function unreadable(path: string, cause: unknown): TraceError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new TraceError("KVPAGE_TRACE_UNREADABLE", `${path} cannot be read: ${reason}`, { cause });
}

/** One member is in memory at a time, the archive never. */
async function* zipMembers(path: string): AsyncGenerator<Source> {
  let complete: Source[] = [];
  let failure: Error | undefined;
  const unzip = new Unzip((member) => {
    if (member.name.endsWith("/")) return;
    const chunks: Uint8Array[] = [];
    member.ondata = (error, chunk, final) => {
      if (error !== null) failure = error;
      else chunks.push(chunk);
      if (final) complete.push({ name: `${path}!${member.name}`, chunks });
    };
    member.start();
  });
  unzip.register(UnzipInflate);
  for await (const chunk of readable(path, createReadStream(path))) {
    try {
      unzip.push(chunk);
    } catch (error) {
      failure = error as Error;
    }
    if (failure !== undefined) throw unreadable(path, failure);
    const ready = complete;
    complete = [];
    yield* ready;
  }
  try {
    unzip.push(new Uint8Array(0), true);
  } catch (error) {
    throw unreadable(path, error);
  }
  yield* complete;
}
