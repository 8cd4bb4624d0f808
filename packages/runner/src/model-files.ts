import { invalidArgument, requireInteger, requireObject } from "./errors.ts";
import { loadAddon } from "./native.ts";

/** A small model with random weights; its text is noise. */
export interface GenerateModelOptions {
  readonly architecture?: "llama" | "qwen2" | "qwen3";
  readonly name?: string;
  /** Type of the matrices: "F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_K", … */
  readonly weights?: string;
  readonly layers?: number;
  readonly embedding?: number;
  readonly heads?: number;
  readonly kvHeads?: number;
  readonly headDim?: number;
  readonly feedForward?: number;
  /** ≥ 300. */
  readonly vocabulary?: number;
  readonly context?: number;
  readonly tiedEmbeddings?: boolean;
  readonly seed?: number;
}

const defaults: Required<GenerateModelOptions> = {
  architecture: "llama",
  name: "random",
  weights: "F16",
  layers: 4,
  embedding: 256,
  heads: 4,
  kvHeads: 2,
  headDim: 64,
  feedForward: 512,
  vocabulary: 512,
  context: 2048,
  tiedEmbeddings: false,
  seed: 1,
};

/**
 * Writes a GGUF file of random weights with a complete tokenizer and chat template. The same options give the same
 * bytes; the file appears complete or not at all.
 *
 * @throws RunnerError KVPAGE_INVALID_ARGUMENT, KVPAGE_WRITE_FAILED
 */
export async function generateModel(path: string, options: GenerateModelOptions = {}): Promise<void> {
  requirePath("path", path);
  const spec = { ...defaults, ...requireObject("options", options) };
  for (const [field, value] of Object.entries(defaults)) {
    const given: unknown = spec[field as keyof GenerateModelOptions];
    if (typeof given !== typeof value) throw invalidArgument(field, given, `a ${typeof value}`);
    if (typeof given === "number") requireInteger(field, given, 0, 2 ** 31 - 1);
  }
  await loadAddon().generateModel(path, spec);
}

/**
 * Converts a llama2.c "version 0" checkpoint and its tokenizer file to GGUF with float32 weights.
 *
 * @throws RunnerError KVPAGE_MODEL_NOT_FOUND, KVPAGE_INVALID_ARGUMENT for a malformed file, KVPAGE_WRITE_FAILED
 */
export async function convertLlama2c(checkpoint: string, tokenizer: string, path: string): Promise<void> {
  requirePath("checkpoint", checkpoint);
  requirePath("tokenizer", tokenizer);
  requirePath("path", path);
  await loadAddon().convertLlama2c(checkpoint, tokenizer, path);
}

export function requirePath(field: string, value: string): void {
  if (typeof value !== "string" || value === "" || value.includes("\0")) {
    throw invalidArgument(field, value, "a file name");
  }
}
