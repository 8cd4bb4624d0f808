export { EngineError, type EngineErrorCode } from "./errors.ts";
export type { GeneratedToken, GenerationRequest, GenerationResult, Sampling, TopLogprob } from "./request.ts";
export type { EngineStats } from "./stats.ts";
