const units: Readonly<Record<string, number>> = {
  "": 1,
  B: 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
};

/** What {@link parseBytes} accepts, for messages. */
export const sizeExpectation = "bytes, or a size such as 64MiB or 1.5GiB";

/** Bytes of a size such as `64MiB`, `12GiB`, `1.5GB` or `4096`; undefined if it is none. Rounded down. */
export function parseBytes(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$/.exec(text.trim());
  const unit = match === null ? undefined : units[match[2]!];
  if (unit === undefined) return undefined;
  const bytes = Math.floor(Number(match![1]) * unit);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** Bytes for a reader, in MiB. */
export function formatMebibytes(bytes: number): string {
  const mebibytes = bytes / 2 ** 20;
  return `${mebibytes.toLocaleString("en-US", { maximumFractionDigits: mebibytes < 100 ? 1 : 0 })} MiB`;
}
