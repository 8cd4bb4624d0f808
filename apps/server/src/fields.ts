import { ServerError } from "./errors.ts";

/** A field's bad value in the words of every refusal: field, value, expectation. */
export function invalidField(field: string, value: unknown, expected: string): ServerError {
  const is = value === undefined ? "is missing" : `is ${shown(value)}`;
  return new ServerError("KVPAGE_INVALID_REQUEST", `${field} ${is}; expected ${expected}`, { param: field });
}

/** Reads a JSON object field by field and refuses what nobody read. `null` is the same as absent. */
export class Fields {
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #path: string;
  readonly #read = new Set<string>();

  /** @param path how refusals name the object; "" for the body itself. */
  constructor(value: unknown, path = "") {
    if (!isObject(value)) {
      if (path !== "") throw invalidField(path, value, "a JSON object");
      throw new ServerError("KVPAGE_INVALID_REQUEST", `the body is ${shown(value)}; expected a JSON object`);
    }
    this.#values = value;
    this.#path = path;
  }

  /** A field's full name, as in `stream_options.include_usage`. */
  name(field: string): string {
    return this.#path === "" ? field : `${this.#path}.${field}`;
  }

  raw(field: string): unknown {
    this.#read.add(field);
    return Object.hasOwn(this.#values, field) ? (this.#values[field] ?? undefined) : undefined;
  }

  /** `above`: an exclusive lower bound; `below`: an exclusive upper one. */
  number(
    field: string,
    range: { min?: number; above?: number; max?: number; below?: number; expected: string },
  ): number | undefined {
    const value = this.raw(field);
    if (value === undefined) return undefined;
    const { min = -Infinity, above = -Infinity, max = Infinity, below = Infinity, expected } = range;
    if (typeof value !== "number" || !(value >= min && value > above && value <= max && value < below)) {
      throw this.invalid(field, value, expected);
    }
    return value;
  }

  integer(field: string, min: number, max = Number.MAX_SAFE_INTEGER): number | undefined {
    const value = this.raw(field);
    if (value === undefined) return undefined;
    if (!Number.isSafeInteger(value) || (value as number) < min || (value as number) > max) {
      const range = max === Number.MAX_SAFE_INTEGER ? `≥ ${min}` : `of ${min}..${max}`;
      throw this.invalid(field, value, `an integer ${range}`);
    }
    return value as number;
  }

  boolean(field: string): boolean | undefined {
    const value = this.raw(field);
    if (value !== undefined && typeof value !== "boolean") throw this.invalid(field, value, "true or false");
    return value;
  }

  string(field: string, lengthMax: number): string | undefined {
    const value = this.raw(field);
    if (value === undefined) return undefined;
    if (typeof value !== "string" || value.length === 0 || value.length > lengthMax) {
      throw this.invalid(field, value, `a string of 1..${lengthMax} characters`);
    }
    return value;
  }

  oneOf<T extends string>(field: string, values: readonly T[]): T | undefined {
    const value = this.raw(field);
    if (value === undefined) return undefined;
    if (!values.includes(value as T)) throw this.invalid(field, value, values.map(shown).join(" or "));
    return value as T;
  }

  object(field: string): Fields | undefined {
    const value = this.raw(field);
    return value === undefined ? undefined : new Fields(value, this.name(field));
  }

  /** A field that is known but not implemented: only the value that asks for nothing is accepted. */
  neutral(field: string, accepted: unknown): void {
    const value = this.raw(field);
    if (value === undefined || JSON.stringify(value) === JSON.stringify(accepted)) return;
    throw this.#unsupported(field, value, `${shown(accepted)} or no such field: nothing else is supported`);
  }

  invalid(field: string, value: unknown, expected: string): ServerError {
    return invalidField(this.name(field), value, expected);
  }

  /** @throws ServerError KVPAGE_UNSUPPORTED_PARAMETER for a field that nobody read. */
  finish(): void {
    for (const [field, value] of Object.entries(this.#values)) {
      if (value === null || this.#read.has(field)) continue;
      throw this.#unsupported(field, value, "no such field: it is not supported");
    }
  }

  #unsupported(field: string, value: unknown, expected: string): ServerError {
    const param = this.name(field);
    return new ServerError(
      "KVPAGE_UNSUPPORTED_PARAMETER",
      `${param} is ${shown(value)}; expected ${expected}`,
      {
        param,
      },
    );
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length <= 60 ? text : `${text.slice(0, 57)}...`;
}
