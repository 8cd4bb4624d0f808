export {
  Engine,
  engineDefaults,
  type EngineOptions,
  type EngineParts,
  type EngineSettings,
} from "./engine.ts";
export { planMemory, type MemoryPlan, type PlanOptions } from "./plan.ts";
export type { KvMemory, StepModel } from "./ports.ts";
export type { GeneratedToken, GenerationRequest, GenerationResult, Sampling, TopLogprob } from "./request.ts";
export type { EngineStats } from "./stats.ts";
export { EngineError, type EngineErrorCode } from "./errors.ts";
