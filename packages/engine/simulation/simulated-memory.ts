import type { KvMemory } from "../src/ports.ts";
import type { MemoryPlan } from "../src/plan.ts";
import { random } from "./random.ts";

const POISON = 0xa5;

export interface SimulatedMemoryOptions {
  readonly plan: MemoryPlan;
  readonly seed: number;
  /** Probability that a copy fails (default 0). */
  readonly copyFailure?: number;
}

/**
 * Memory that punishes mistakes: free pages hold poison, copies happen late, what is in flight may not be
 * released, and an access outside a mapping throws.
 */
export class SimulatedMemory implements KvMemory {
  readonly pages: number;
  readonly pageBytes: number;
  readonly hostPages: number;
  readonly windows: number;
  readonly windowPages: number;
  readonly baseAddress = 1n << 40n;
  readonly reservedBytes: number;

  readonly #device: Uint8Array[];
  readonly #host: Uint8Array[];
  readonly #references: Int32Array;
  readonly #hostUsed: Uint8Array;
  readonly #windows: (number[] | undefined)[];
  readonly #inFlight = new Set<Uint8Array>();
  readonly #random: () => number;
  readonly #copyFailure: number;

  constructor(options: SimulatedMemoryOptions) {
    const { plan } = options;
    this.pages = plan.pages;
    this.pageBytes = plan.pageBytes;
    this.hostPages = plan.hostPages;
    this.windows = plan.windows;
    this.windowPages = plan.windowPages;
    this.reservedBytes = plan.windows * plan.windowPages * plan.pageBytes;
    const page = () => new Uint8Array(plan.pageBytes).fill(POISON);
    this.#device = Array.from({ length: plan.pages }, page);
    this.#host = Array.from({ length: plan.hostPages }, page);
    this.#references = new Int32Array(plan.pages);
    this.#hostUsed = new Uint8Array(plan.hostPages);
    this.#windows = Array.from({ length: plan.windows }, () => undefined);
    this.#random = random(options.seed);
    this.#copyFailure = options.copyFailure ?? 0;
  }

  get freePages(): number {
    return this.#references.filter((n) => n === 0).length;
  }

  get freeHostPages(): number {
    return this.#hostUsed.filter((used) => used === 0).length;
  }

  get freeWindows(): number {
    return this.#windows.filter((w) => w === undefined).length;
  }

  openWindow(): number {
    const window = this.#windows.indexOf(undefined);
    if (window < 0) throw new Error("no free window");
    this.#windows[window] = [];
    return window;
  }

  closeWindow(window: number): void {
    this.truncate(window, 0);
    this.#windows[window] = undefined;
  }

  windowAddress(window: number): bigint {
    return this.baseAddress + BigInt(window * this.windowPages * this.pageBytes);
  }

  mappedPages(window: number): number {
    return this.#window(window).length;
  }

  map(window: number, pages: Int32Array): void {
    const mapping = this.#window(window);
    if (mapping.length + pages.length > this.windowPages) throw new Error("the window is full");
    for (const page of pages) {
      if (this.#references[page] === 0) throw new Error(`page ${page} is free`);
      this.#references[page]!++;
      mapping.push(page);
    }
  }

  truncate(window: number, pages: number): void {
    const mapping = this.#window(window);
    while (mapping.length > pages) this.release(mapping.pop()!);
  }

  allocate(): number {
    const page = this.#references.indexOf(0);
    if (page < 0) throw new Error("no free page");
    this.#references[page] = 1;
    return page;
  }

  release(page: number): void {
    if (this.#references[page]! < 1) throw new Error(`page ${page} is free already`);
    if (--this.#references[page]! > 0) return;
    if (this.#inFlight.has(this.#device[page]!)) throw new Error(`page ${page} is in flight`);
    this.#device[page]!.fill(POISON);
  }

  allocateHost(): number {
    const page = this.#hostUsed.indexOf(0);
    if (page < 0) throw new Error("no free host page");
    this.#hostUsed[page] = 1;
    return page;
  }

  releaseHost(hostPage: number): void {
    if (this.#hostUsed[hostPage] !== 1) throw new Error(`host page ${hostPage} is free already`);
    if (this.#inFlight.has(this.#host[hostPage]!)) throw new Error(`host page ${hostPage} is in flight`);
    this.#hostUsed[hostPage] = 0;
    this.#host[hostPage]!.fill(POISON);
  }

  async pageOut(pages: Int32Array, hostPages: Int32Array): Promise<void> {
    await this.#copy(
      Array.from(pages, (p) => this.#device[p]!),
      Array.from(hostPages, (p) => this.#host[p]!),
    );
  }

  async pageIn(hostPages: Int32Array, pages: Int32Array): Promise<void> {
    await this.#copy(
      Array.from(hostPages, (p) => this.#host[p]!),
      Array.from(pages, (p) => this.#device[p]!),
    );
  }

  async close(): Promise<void> {}

  async #copy(from: Uint8Array[], to: Uint8Array[]): Promise<void> {
    for (const page of [...from, ...to]) this.#inFlight.add(page);
    const ticks = Math.floor(this.#random() * 8);
    for (let i = 0; i < ticks; i++) await Promise.resolve();
    const fails = this.#random() < this.#copyFailure;
    if (!fails) from.forEach((page, i) => to[i]!.set(page));
    for (const page of [...from, ...to]) this.#inFlight.delete(page);
    if (fails) throw new Error("simulated: the copy failed");
  }

  /** The bytes of a row at a virtual address, inside a mapping. */
  row(address: bigint, row: number, rowBytes: number): Uint8Array {
    const offset = Number(address - this.baseAddress) + row * rowBytes;
    const window = Math.floor(offset / (this.windowPages * this.pageBytes));
    const within = offset % (this.windowPages * this.pageBytes);
    const page = this.#window(window)[Math.floor(within / this.pageBytes)];
    if (page === undefined) throw new Error(`row ${row} of window ${window} is not mapped`);
    const start = within % this.pageBytes;
    return this.#device[page]!.subarray(start, start + rowBytes);
  }

  #window(window: number): number[] {
    const mapping = this.#windows[window];
    if (mapping === undefined) throw new Error(`window ${window} is closed`);
    return mapping;
  }
}
