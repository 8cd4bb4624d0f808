import { UsageError } from "./errors.ts";

/** A cache size as typed: pages, a share of something known once the trace is read, or bytes. */
export type Capacity =
  | { readonly text: string; readonly of: "pages" | "distinct" | "live"; readonly amount: number }
  | { readonly text: string; readonly of: "bytes"; readonly amount: number };

const byteUnits: Readonly<Record<string, number>> = {
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};

/** Reads `3000` (pages), `5%` (of the distinct pages), `0.34L` (of the mean live pages), `12GiB`. */
export function parseCapacity(text: string): Capacity {
  const [, digits, unit] = /^(\d+(?:\.\d+)?)(|%|L|[KMGT]iB)$/.exec(text) ?? [];
  const amount = Number(digits);
  const known = digits !== undefined && amount > 0 && (unit !== "" || Number.isSafeInteger(amount));
  if (!known) throw new UsageError("--capacity", text, "pages such as 3000, or 5%, 0.34L, 12GiB");
  if (unit === "%") return { text, of: "distinct", amount: amount / 100 };
  if (unit === "L") return { text, of: "live", amount };
  if (unit === "" || unit === undefined) return { text, of: "pages", amount };
  return { text, of: "bytes", amount: amount * byteUnits[unit]! };
}

/**
 * @param pageBytes bytes of a page, for capacities in bytes.
 * @returns pages, ≥ 1: shares are rounded to the nearest page, bytes down.
 */
export function capacityPages(
  capacity: Capacity,
  trace: { readonly pages: number; readonly livePages: () => number },
  pageBytes: number | undefined,
): number {
  const { amount } = capacity;
  switch (capacity.of) {
    case "pages":
      return amount;
    case "distinct":
      return Math.max(1, Math.round(amount * trace.pages));
    case "live":
      return Math.max(1, Math.round(amount * trace.livePages()));
    case "bytes": {
      if (pageBytes === undefined)
        throw new UsageError("--capacity", capacity.text, "--page-bytes beside it");
      const pages = Math.floor(amount / pageBytes);
      if (pages < 1)
        throw new UsageError("--capacity", capacity.text, `at least a page of ${pageBytes} bytes`);
      return pages;
    }
  }
}
