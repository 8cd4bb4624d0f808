export type { Bit, Policy } from "./policy.ts";
export {
  bitMeaning,
  type BitMeaning,
  createPolicy,
  isRandomised,
  policyNames,
  type PolicyOptions,
} from "./policies.ts";
export type { RandomSource } from "./random.ts";
export {
  createPredictor,
  isRandomPredictor,
  predictAll,
  predictorNames,
  type Predictor,
  type PredictorOptions,
} from "./predictors.ts";
export type { PolicySizes } from "./residency.ts";
export { singlePageTrace, type PageTrace } from "./trace.ts";
export { nextUses, simulate, type SimulationHooks, type SimulationResult } from "./simulate.ts";
export { type BoundFacts, faultBound } from "./bounds.ts";
export {
  cleanPages,
  discardErrors,
  discardTruth,
  phaseErrors,
  phases,
  phaseTruth,
  type DiscardTruth,
  type PredictionErrors,
} from "./offline.ts";
export { PagingError, type PagingErrorCode } from "./errors.ts";
