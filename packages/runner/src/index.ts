export { Model, type KvType, type ModelOptions } from "./model.ts";
export type { KvLayout, ModelInfo } from "./model-info.ts";
export { StepBatch, type StepBatchOptions } from "./batch.ts";
export type { ChatMessage } from "./chat-template.ts";
export { TextStream, type TokenText } from "./text-stream.ts";
export { convertLlama2c, generateModel, type GenerateModelOptions } from "./model-files.ts";
export { RunnerError, type RunnerErrorCode } from "./errors.ts";
