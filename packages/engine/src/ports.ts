import type { StepBatch } from "@kvpage/runner";

/**
 * What the engine asks of a model: `Model` of @kvpage/runner is one, the simulated model of the tests another.
 */
export interface StepModel {
  readonly info: { readonly vocabulary: number };
  readonly kvLayout: { readonly rowBytes: number };
  setKvRegion(base: bigint, bytes: number): void;
  step(batch: StepBatch): Promise<void>;
  isEndOfGeneration(token: number): boolean;
}

/** What the engine asks of the memory: `KvCache` of @kvpage/vattention is one. */
export interface KvMemory {
  readonly pages: number;
  readonly pageBytes: number;
  readonly hostPages: number;
  readonly windows: number;
  readonly windowPages: number;
  readonly baseAddress: bigint;
  readonly reservedBytes: number;
  readonly freePages: number;
  readonly freeHostPages: number;
  readonly freeWindows: number;
  openWindow(): number;
  closeWindow(window: number): void;
  windowAddress(window: number): bigint;
  mappedPages(window: number): number;
  map(window: number, pages: Int32Array): void;
  truncate(window: number, pages: number): void;
  allocate(): number;
  release(page: number): void;
  allocateHost(): number;
  releaseHost(hostPage: number): void;
  pageOut(pages: Int32Array, hostPages: Int32Array): Promise<void>;
  pageIn(hostPages: Int32Array, pages: Int32Array): Promise<void>;
  close(): Promise<void>;
}
