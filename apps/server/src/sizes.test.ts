import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatMebibytes, parseBytes } from "./sizes.ts";

describe("parseBytes", () => {
  it.each([
    ["0", 0],
    ["4096", 4096],
    ["64MiB", 64 * 2 ** 20],
    ["12GiB", 12 * 2 ** 30],
    ["1.5 GiB", 1.5 * 2 ** 30],
    ["2GB", 2e9],
    ["1kB", 1000],
    ["10B", 10],
  ])("reads %s", (text, bytes) => expect(parseBytes(text)).toBe(bytes));

  it.each(["", "MiB", "-1", "1 2", "1e9", "64mib", "12GiBs", "0x10", "Infinity", "99999999TiB", "1,5GiB"])(
    "refuses %j",
    (text) => expect(parseBytes(text)).toBeUndefined(),
  );

  it("reads back plain bytes", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (bytes) => {
        expect(parseBytes(String(bytes))).toBe(bytes);
      }),
    );
  });
});

it("formats for a reader", () => {
  expect(formatMebibytes(2 ** 19)).toBe("0.5 MiB");
  expect(formatMebibytes(12 * 2 ** 30)).toBe("12,288 MiB");
});
