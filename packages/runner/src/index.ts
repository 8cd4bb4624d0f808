export { StepBatch, type StepBatchOptions } from "./batch.ts";
