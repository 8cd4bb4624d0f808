import { availableParallelism } from "node:os";
import { engineDefaults } from "@kvpage/engine";
import { createPolicy, createPredictor, policyNames, predictorNames } from "@kvpage/paging";
import type { KvType } from "@kvpage/runner";
import { parseBytes, sizeExpectation } from "./sizes.ts";

/** The effective configuration. */
export interface ServerConfig {
  /** A GGUF file; null: the small generated model. */
  readonly model: string | null;
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Bytes. */
  readonly kvMemory: number | "auto";
  /** Bytes; 0 = no host tier. */
  readonly hostMemory: number;
  readonly policy: string;
  readonly predictor: string;
  /** Null: the engine chooses. */
  readonly pageTokens: number | null;
  readonly kvType: KvType;
  readonly maxSequences: number;
  /** Tokens; null: the model's. */
  readonly context: number | null;
  readonly threads: number;
  /** Null: 1 for policies, random for requests. */
  readonly seed: number | null;
  readonly fast: boolean;
  readonly logLevel: string;
}

/** A value that {@link Setting.parse} cannot use: what was expected. */
export class Expectation {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

export interface Setting<T = unknown> {
  readonly default: T;
  /** What the flag takes; undefined for a switch. */
  readonly argument: string | undefined;
  readonly help: string;
  /** From the text of a flag or variable, or the value of a configuration file. */
  parse(value: unknown): T | Expectation;
}

const logLevels = ["silent", "fatal", "error", "warn", "info", "debug", "trace"];
const kvTypes: readonly KvType[] = ["f16", "f32", "q8_0"];
const smallest = { capacity: 1, pages: 1 };

/** Every setting: its flag is the key in kebab case, its variable `KVPAGE_` and the key in upper snake case. */
export const settings: { readonly [K in keyof ServerConfig]: Setting<ServerConfig[K]> } = {
  model: {
    default: null,
    argument: "FILE.gguf",
    help: "the model; none: a small generated one with random weights",
    parse: text("a file name"),
  },
  host: { default: "127.0.0.1", argument: "HOST", help: "address to listen on", parse: text("an address") },
  port: {
    default: 8080,
    argument: "PORT",
    help: "port to listen on; 0 takes a free one",
    parse: integer(0, 65535),
  },
  kvMemory: {
    default: "auto",
    argument: "SIZE",
    help: "hard bound of device KV bytes; auto: a quarter of the available memory, at most 64 contexts",
    parse: (value) => (value === "auto" ? "auto" : bytes(`${sizeExpectation}, or auto`)(value)),
  },
  hostMemory: {
    default: 0,
    argument: "SIZE",
    help: "hard bound of the host tier; 0 = none",
    parse: bytes(sizeExpectation),
  },
  policy: {
    default: engineDefaults.policy,
    argument: "NAME",
    help: "which idle pages leave first",
    parse: name(policyNames, createPolicy, ["lfd"]),
  },
  predictor: {
    default: engineDefaults.predictor,
    argument: "NAME",
    help: "where the bit of a page comes from when a request says nothing",
    parse: name(predictorNames, createPredictor),
  },
  pageTokens: {
    default: null,
    argument: "N",
    help: "tokens of one page; default: about 256 KiB, at most 64 tokens",
    parse: integer(1, 2 ** 20),
  },
  kvType: { default: "f16", argument: "TYPE", help: "element type of K and V", parse: oneOf(kvTypes) },
  maxSequences: {
    default: engineDefaults.maxSequences,
    argument: "N",
    help: "requests that run at once",
    parse: integer(1, 4096),
  },
  context: {
    default: null,
    argument: "N",
    help: "longest sequence in tokens; default: the model's",
    parse: integer(1, 2 ** 30),
  },
  threads: {
    default: availableParallelism(),
    argument: "N",
    help: "threads that compute",
    parse: integer(1, 512),
  },
  seed: {
    default: null,
    argument: "N",
    help: "of randomised policies, and of requests that name none; default: 1 and random",
    parse: integer(0, Number.MAX_SAFE_INTEGER),
  },
  fast: {
    default: false,
    argument: undefined,
    help: "faster deep prefill, giving up bit-identical answers",
    parse: flag,
  },
  logLevel: { default: "info", argument: "LEVEL", help: "of the log on stderr", parse: oneOf(logLevels) },
};

function text(expected: string) {
  return (value: unknown) => (typeof value === "string" && value !== "" ? value : new Expectation(expected));
}

function integer(min: number, max: number) {
  return (value: unknown) => {
    const number = typeof value === "string" && /^\d+$/.test(value) ? Number(value) : value;
    const fits = Number.isSafeInteger(number) && (number as number) >= min && (number as number) <= max;
    return fits ? (number as number) : new Expectation(`an integer of ${min}..${max}`);
  };
}

function bytes(expected: string) {
  return (value: unknown) => {
    const size =
      typeof value === "number" || typeof value === "string" ? parseBytes(String(value)) : undefined;
    return size ?? new Expectation(expected);
  };
}

function oneOf<T extends string>(values: readonly T[]) {
  return (value: unknown) =>
    values.includes(value as T) ? (value as T) : new Expectation(`one of ${values.join(", ")}`);
}

/** A name that `make` knows and can use without knowing the future; `offline` ones fail only in use. */
function name(
  known: readonly string[],
  make: (name: string, sizes: typeof smallest) => unknown,
  offline: readonly string[] = [],
) {
  const works = (value: unknown) => {
    if (offline.includes(value as string)) return false;
    try {
      make(value as string, smallest);
      return typeof value === "string";
    } catch {
      return false;
    }
  };
  return (value: unknown) =>
    works(value) ? (value as string) : new Expectation(`one of ${known.filter(works).join(", ")}`);
}

function flag(value: unknown) {
  if (value === true || value === "true" || value === "1") return true;
  if (value === false || value === "false" || value === "0") return false;
  return new Expectation("true or false");
}
