import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { convertLlama2c } from "@kvpage/runner";
import { sharedFile } from "./shared.ts";

export const stories260k = {
  checkpoint: sharedFile("models/stories260K/stories260K.bin"),
  tokenizer: sharedFile("models/stories260K/tok512.bin"),
  expectedGreedy200: sharedFile("models/stories260K/expected-greedy-200.txt"),
};

/** The model as GGUF in a folder of its own. */
export async function makeStories260k(): Promise<{ path: string; remove: () => void }> {
  const folder = mkdtempSync(join(tmpdir(), "kvpage-stories-"));
  const path = join(folder, "stories260K.gguf");
  await convertLlama2c(stories260k.checkpoint.path, stories260k.tokenizer.path, path);
  return { path, remove: () => rmSync(folder, { recursive: true }) };
}
