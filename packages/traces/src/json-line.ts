import { malformed, type LinePlace } from "./errors.ts";

/** Parses a line that must hold one JSON object. */
export function parseObject(place: LinePlace, text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw malformed(place, "the line", text.slice(0, 60), "one JSON object");
  }
  if (!isObject(value)) throw malformed(place, "the line", value, "a JSON object");
  return value;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A finite number ≥ 0. */
export function requireNumber(place: LinePlace, field: string, value: unknown): number {
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0) {
    throw malformed(place, field, value, "a number ≥ 0");
  }
  return value;
}

export function requireArray(place: LinePlace, field: string, value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw malformed(place, field, value, "an array");
  return value;
}

/** The array's elements are integers ≥ 0. */
export function requireIds(place: LinePlace, field: string, value: unknown): readonly number[] {
  const ids = requireArray(place, field, value);
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i];
    if (!Number.isSafeInteger(id) || (id as number) < 0) {
      throw malformed(place, `${field}[${i}]`, id, "an integer ≥ 0");
    }
  }
  return ids as readonly number[];
}
