import { existsSync, mkdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { generateModel, type GenerateModelOptions } from "@kvpage/runner";
import { ServerError } from "./errors.ts";

/** Small enough to be made in a second, with a chat template and a vocabulary of bytes and a little more. */
const spec = {
  name: "kvpage-random",
  architecture: "llama",
  weights: "Q8_0",
  layers: 4,
  embedding: 256,
  heads: 4,
  kvHeads: 2,
  headDim: 64,
  feedForward: 512,
  vocabulary: 512,
  context: 4096,
  seed: 1,
} as const satisfies GenerateModelOptions;

/**
 * What is served when no model is given: random weights, made once and kept in the user's cache folder.
 *
 * @throws ServerError KVPAGE_CONFIGURATION when it cannot be written
 */
export async function bundledModel(
  environment: Readonly<Record<string, string | undefined>>,
): Promise<string> {
  const folder =
    environment["KVPAGE_CACHE"] ?? join(environment["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "kvpage");
  const path = join(folder, `${spec.name}.gguf`);
  if (existsSync(path)) return path;
  try {
    mkdirSync(folder, { recursive: true });
    await generateModel(path, spec);
  } catch (cause) {
    const why = (cause as Error).message;
    const message = `--model is not given, and the generated model cannot be written to ${path}: ${why}`;
    throw new ServerError("KVPAGE_CONFIGURATION", message, { cause });
  }
  return path;
}
