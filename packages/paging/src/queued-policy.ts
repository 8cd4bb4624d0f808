import type { Bit, Policy } from "./policy.ts";
import { type PolicySizes, Residency } from "./residency.ts";

/**
 * What all policies share: the order of touch, pin, unpin and remove. An algorithm says how a requested page is
 * classed, where it waits, and which waiting page goes.
 */
export abstract class QueuedPolicy implements Policy {
  abstract readonly name: string;
  protected readonly residency: Residency;

  constructor(sizes: PolicySizes) {
    this.residency = new Residency(sizes);
  }

  get capacity(): number {
    return this.residency.capacity;
  }

  get size(): number {
    return this.residency.size;
  }

  has(page: number): boolean {
    return this.residency.has(page);
  }

  touch(page: number, bit: Bit, deeper = -1): void {
    const { residency } = this;
    if (residency.has(page)) {
      if (!residency.isPinned(page)) this.leave(page);
    } else residency.insert(page);
    residency.bit[page] = bit;
    this.requested(page, deeper);
    if (!residency.isPinned(page)) this.enter(page);
  }

  pin(page: number): void {
    if (this.residency.pin(page)) this.leave(page);
  }

  unpin(page: number): void {
    if (this.residency.unpin(page)) this.enter(page);
  }

  victim(): number {
    if (this.residency.size === this.residency.pinned) return -1;
    const page = this.choose();
    this.leave(page);
    this.residency.delete(page);
    return page;
  }

  remove(page: number): void {
    if (!this.residency.has(page)) return;
    if (!this.residency.isPinned(page)) this.leave(page);
    this.residency.delete(page);
  }

  checkIntegrity(): void {
    this.residency.check((page) => this.waits(page));
  }

  /** The page was requested, its bit is noted; it is in no queue. `deeper` as in {@link Policy.touch}. */
  protected abstract requested(page: number, deeper: number): void;
  /** The page may be evicted from now on: it enters a queue. */
  protected abstract enter(page: number): void;
  /** The page leaves its queue. */
  protected abstract leave(page: number): void;
  /** The waiting page that goes next; there is at least one. */
  protected abstract choose(): number;
  /** Is the page in a queue? */
  protected abstract waits(page: number): boolean;
}
