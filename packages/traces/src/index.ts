// Traces in columns.
export {
  largestRequest,
  meanLivePages,
  type MergeFacts,
  type Trace,
  type TraceFormat,
  traceFormats,
} from "./trace.ts";

// Reading them.
export { type ReadOptions, readTraces } from "./read-traces.ts";
export type { MergeOptions } from "./merge-sessions.ts";

export { TraceError, type TraceErrorCode } from "./errors.ts";
