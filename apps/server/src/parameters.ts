import type { GenerationRequest } from "@kvpage/engine";
import type { Fields } from "./fields.ts";

/** What both completion endpoints take besides the prompt. */
export interface Parameters {
  /** Undefined: as much as fits. */
  readonly maxTokens: number | undefined;
  readonly stop: readonly string[];
  readonly stream: boolean;
  readonly includeUsage: boolean;
  readonly sampling: NonNullable<GenerationRequest["sampling"]>;
  readonly session: string | undefined;
  readonly reuse: "likely" | "unlikely" | undefined;
  readonly ignoreEndOfGeneration: boolean;
}

/** Fields that change nothing in the answer: accepted and left alone. */
const harmless = [
  "user",
  "metadata",
  "store",
  "service_tier",
  "safety_identifier",
  "parallel_tool_calls",
] as const;

/** Fields that are not implemented, with the value by which clients say that they do not use them. */
const neutral: Readonly<Record<string, unknown>> = {
  n: 1,
  best_of: 1,
  echo: false,
  suffix: "",
  frequency_penalty: 0,
  presence_penalty: 0,
  repetition_penalty: 1,
  logit_bias: {},
  tools: [],
  tool_choice: "none",
  functions: [],
  function_call: "none",
  response_format: { type: "text" },
  modalities: ["text"],
};

/** @param defaultSeed the seed of a request that names none. */
export function readParameters(fields: Fields, defaultSeed: () => bigint): Parameters {
  for (const field of harmless) fields.raw(field);
  for (const [field, accepted] of Object.entries(neutral)) fields.neutral(field, accepted);
  const stream = fields.boolean("stream") ?? false;
  const seed = fields.integer("seed", Number.MIN_SAFE_INTEGER);
  return {
    maxTokens: readMaxTokens(fields),
    stop: readStop(fields),
    stream,
    includeUsage: readIncludeUsage(fields, stream),
    sampling: {
      temperature: fields.number("temperature", { min: 0, max: 100, expected: "a number of 0..100" }) ?? 1,
      topK: readTopK(fields),
      topP: fields.number("top_p", { above: 0, max: 1, expected: "a number > 0 and ≤ 1" }) ?? 1,
      minP: fields.number("min_p", { min: 0, below: 1, expected: "a number ≥ 0 and < 1" }) ?? 0,
      seed: seed === undefined ? defaultSeed() : BigInt.asUintN(64, BigInt(seed)),
    },
    session: fields.string("prompt_cache_key", 512),
    reuse: readReuse(fields),
    ignoreEndOfGeneration: fields.boolean("ignore_eos") ?? false,
  };
}

function readMaxTokens(fields: Fields): number | undefined {
  const maxTokens = fields.integer("max_tokens", 1);
  const maxCompletionTokens = fields.integer("max_completion_tokens", 1);
  if (maxTokens !== undefined && maxCompletionTokens !== undefined && maxTokens !== maxCompletionTokens) {
    throw fields.invalid(
      "max_tokens",
      maxTokens,
      `the value of max_completion_tokens (${maxCompletionTokens})`,
    );
  }
  return maxCompletionTokens ?? maxTokens;
}

/** 0 and −1 both turn it off: clients use either. */
function readTopK(fields: Fields): number {
  return Math.max(0, fields.integer("top_k", -1, 2 ** 31 - 1) ?? 0);
}

function readStop(fields: Fields): string[] {
  const value = fields.raw("stop");
  if (value === undefined) return [];
  const stops: unknown[] = Array.isArray(value) ? value : [value];
  // A lone surrogate cannot occur in the answer's text.
  const usable = (stop: unknown) => typeof stop === "string" && stop !== "" && !/\p{Surrogate}/u.test(stop);
  if (stops.length > 4 || !stops.every(usable)) {
    throw fields.invalid("stop", value, "a string or an array of at most 4 strings, none of them empty");
  }
  return stops as string[];
}

function readIncludeUsage(fields: Fields, stream: boolean): boolean {
  const options = fields.object("stream_options");
  if (options === undefined) return false;
  if (!stream)
    throw fields.invalid("stream_options", fields.raw("stream_options"), "stream to be true beside it");
  const includeUsage = options.boolean("include_usage") ?? false;
  options.neutral("include_obfuscation", false);
  options.finish();
  return includeUsage;
}

function readReuse(fields: Fields): Parameters["reuse"] {
  const hints = fields.object("kvpage");
  const reuse = hints?.oneOf("reuse", ["likely", "unlikely"]);
  hints?.finish();
  return reuse;
}
