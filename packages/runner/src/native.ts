import { createRequire } from "node:module";
import type { StepBatch } from "./batch.ts";
import { RunnerError } from "./errors.ts";
import type { KvLayout, ModelInfo } from "./model-info.ts";

export interface NativeInfo extends ModelInfo, KvLayout {
  readonly bosToken: number;
  readonly eosToken: number;
  readonly addsBos: boolean;
  readonly addsSpacePrefix: boolean;
  readonly chatTemplate: string;
}

/** The addon's class. It checks batches itself; other arguments are validated by the face. */
export interface NativeModel {
  info(): NativeInfo;
  setKvRegion(base: bigint, bytes: number): void;
  step(batch: StepBatch, logits: Float32Array | undefined): Promise<void>;
  tokenize(text: string, addSpecial: boolean, parseSpecial: boolean): Int32Array;
  tokenBytes(token: number): Uint8Array;
  tokenText(token: number): string;
  isControl(token: number): boolean;
  isEndOfGeneration(token: number): boolean;
  dispose(): void;
}

interface Addon {
  load(
    path: string,
    kvType: number,
    threads: number,
    fast: boolean,
    onProgress: ((fraction: number) => void) | undefined,
  ): Promise<NativeModel>;
  generateModel(path: string, spec: object): Promise<void>;
  convertLlama2c(checkpoint: string, tokenizer: string, path: string): Promise<void>;
  setErrorClass(errorClass: typeof RunnerError): void;
}

let addon: Addon | undefined;

/** @throws RunnerError KVPAGE_NO_NATIVE */
export function loadAddon(): Addon {
  if (addon !== undefined) return addon;
  const platform = `${process.platform}-${process.arch}`;
  const file = process.env["KVPAGE_RUNNER_NATIVE"] ?? `../prebuilds/${platform}/kvpage.node`;
  try {
    addon = createRequire(import.meta.url)(file) as Addon;
  } catch (cause) {
    throw new RunnerError(
      "KVPAGE_NO_NATIVE",
      `the native addon for ${platform} cannot be loaded from ${file}; build it with \`npm run build\``,
      { cause },
    );
  }
  addon.setErrorClass(RunnerError);
  return addon;
}
