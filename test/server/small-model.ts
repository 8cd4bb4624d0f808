import { generateModel } from "@kvpage/runner";

/** Loaded and run in no time; its text is noise. */
export async function writeSmallModel(path: string): Promise<void> {
  await generateModel(path, {
    weights: "F32",
    layers: 2,
    embedding: 64,
    heads: 2,
    kvHeads: 1,
    headDim: 32,
    feedForward: 64,
    context: 4096,
  });
}
