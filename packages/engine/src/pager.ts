import type { Bit, Policy, Predictor } from "@kvpage/paging";
import type { MemoryPlan } from "./plan.ts";
import type { KvMemory } from "./ports.ts";
import type { Session } from "./session.ts";
import { ShadowLru } from "./shadow-lru.ts";
import { Windows } from "./windows.ts";

export interface PagerOptions {
  readonly plan: MemoryPlan;
  readonly memory: KvMemory;
  /** Chooses which idle pages leave the device; capacity = device pages, ids 0..pages + hostPages − 1. */
  readonly policy: Policy;
  /** Chooses which host copies make room for others. */
  readonly hostPolicy: Policy;
  readonly predictor: Predictor;
  /** The session has lost its last page while idle. */
  readonly onEmpty: (session: Session) => void;
}

/**
 * Where every page is, and how it moves.
 *
 * A page has a device page, a host page, or both: then the host copy is *clean* and evicting the page costs
 * nothing. All decisions are taken synchronously; only copies are awaited, and what a copy touches is neither
 * free, nor a victim, nor in a window until the copy is done:
 *
 *     idle ── victim() ──> leaving ── copied ──> on the host ── activate() ──> arriving ── copied ──> pinned
 *       └── clean victim, or no room on the host (dropped, with all deeper pages of its session) ──┘
 *
 * Losing a page never shows in an answer: the session's valid length shrinks and the next turn computes the rest.
 */
export class Pager {
  readonly counters = {
    faults: 0,
    pageOut: { evict: 0, preempt: 0 },
    cleanEvictions: 0,
    pageIn: 0,
    dropped: 0,
  };

  readonly #plan: MemoryPlan;
  readonly #memory: KvMemory;
  readonly #policy: Policy;
  readonly #shadow: ShadowLru;
  readonly #windows: Windows;
  readonly #hostPolicy: Policy;
  readonly #predictor: Predictor;
  readonly #onEmpty: (session: Session) => void;

  // By page id.
  readonly #device: Int32Array;
  readonly #host: Int32Array;
  readonly #position: Int32Array;
  readonly #bit: Uint8Array;
  /** 1: being copied to the host. */
  readonly #leaving: Uint8Array;
  readonly #owner: (Session | undefined)[];

  readonly #freeIds: Int32Array;
  #freeIdCount: number;
  #pinned = 0;
  #copies = new Set<Promise<void>>();
  /** Operations under way: the pages that they have acquired are not yet anybody's. */
  #operations = 0;

  constructor(options: PagerOptions) {
    this.#plan = options.plan;
    this.#memory = options.memory;
    this.#policy = options.policy;
    this.#hostPolicy = options.hostPolicy;
    this.#predictor = options.predictor;
    this.#onEmpty = options.onEmpty;

    const ids = options.plan.pages + options.plan.hostPages;
    this.#shadow = new ShadowLru({ capacity: options.plan.pages, pages: ids });
    this.#windows = new Windows(options.memory);
    this.#device = new Int32Array(ids).fill(-1);
    this.#host = new Int32Array(ids).fill(-1);
    this.#position = new Int32Array(ids);
    this.#bit = new Uint8Array(ids);
    this.#leaving = new Uint8Array(ids);
    this.#owner = Array.from({ length: ids }, () => undefined);
    this.#freeIds = Int32Array.from({ length: ids }, (_, i) => ids - 1 - i);
    this.#freeIdCount = ids;
  }

  /** Pages of running turns. */
  get pinned(): number {
    return this.#pinned;
  }

  /** Pages that a turn can get now: free ones and idle ones. */
  get available(): number {
    return this.#memory.freePages + this.#policy.size - this.#pinned;
  }

  get shadowLruFaults(): number {
    return this.#shadow.faults;
  }

  pagesFor(tokens: number): number {
    return Math.ceil(tokens / this.#plan.pageTokens);
  }

  /** Resolves once no copy to the host is under way. */
  async settled(): Promise<void> {
    while (this.#copies.size > 0) await Promise.all(this.#copies);
  }

  /**
   * Starts a turn: keeps the first `keepTokens` tokens of the session and frees the rest, brings the kept pages
   * back, adds fresh ones up to `pages`, pins all and maps them into a window.
   *
   * @param spare pages that must stay obtainable for others.
   * @returns undefined, and nothing has changed, if the pages do not fit now; else a promise of the number of
   *   pages that came from the host. Afterwards `session.kvTokens` says what is valid: less than `keepTokens`
   *   if a copy failed.
   */
  tryActivate(
    session: Session,
    keepTokens: number,
    pages: number,
    spare: number,
  ): Promise<number> | undefined {
    const keep = this.pagesFor(keepTokens);
    if (pages + spare > this.available) return undefined;

    this.truncate(session, keepTokens);
    this.#windows.hold(session);
    let missing = pages;
    for (let i = 0; i < keep; i++) {
      const page = session.pages.at(i);
      if (this.#device[page]! >= 0) {
        this.#pin(page);
        missing--;
      } else this.#hostPolicy.pin(page);
    }
    return this.#operate(() => this.#bringIn(session, pages, missing));
  }

  /** Adds one fresh page to each running session. The caller has seen that `available` suffices. */
  async extend(sessions: readonly Session[]): Promise<void> {
    await this.#operate(async () => {
      const devicePages = await this.#acquire(sessions.length);
      sessions.forEach((session, i) => {
        this.#add(session, devicePages[i]!);
        this.#map(session);
      });
      this.counters.faults += sessions.length;
    });
  }

  /** The turn is over: its pages stay, unpinned, each with its predicted bit. */
  complete(session: Session, reuse: "likely" | "unlikely" | undefined): void {
    this.#unpinAll(session);
    this.truncate(session, session.kvTokens);
    this.#shadow.request(session.pages.view);
    for (let i = session.pages.length - 1; i >= 0; i--) {
      const page = session.pages.at(i);
      const bit: Bit = reuse === undefined ? this.#predictor.predict(page) : reuse === "likely" ? 0 : 1;
      this.#bit[page] = bit;
      this.#policy.touch(page, bit, deeper(session, i));
    }
    this.#windows.yield(session);
  }

  /** The turn gives way and will come back: its pages stay as long as they can. */
  preempt(session: Session): void {
    this.#unpinAll(session);
    for (let i = session.pages.length - 1; i >= 0; i--) {
      const page = session.pages.at(i);
      this.#bit[page] = 0;
      this.#policy.touch(page, 0, deeper(session, i));
    }
    this.#windows.yield(session);
  }

  /** Frees the pages beyond the first `tokens` tokens. The session is not pinned. */
  truncate(session: Session, tokens: number): void {
    const keep = this.pagesFor(tokens);
    this.#windows.truncate(session, keep);
    for (let i = session.pages.length - 1; i >= keep; i--) this.#free(session.pages.at(i));
    session.pages.length = Math.min(session.pages.length, keep);
    session.kvTokens = Math.min(session.kvTokens, tokens);
  }

  async #operate<T>(operation: () => Promise<T>): Promise<T> {
    this.#operations++;
    try {
      return await operation();
    } finally {
      this.#operations--;
    }
  }

  async #bringIn(session: Session, pages: number, missing: number): Promise<number> {
    const devicePages = await this.#acquire(missing);
    let next = 0;
    const arriving: number[] = [];
    for (let i = 0; i < session.pages.length; i++) {
      const page = session.pages.at(i);
      if (this.#device[page]! >= 0) continue;
      this.#device[page] = devicePages[next++]!;
      arriving.push(page);
    }
    if (arriving.length > 0) {
      try {
        await this.#memory.pageIn(
          Int32Array.from(arriving, (page) => this.#host[page]!),
          Int32Array.from(arriving, (page) => this.#device[page]!),
        );
        this.counters.pageIn += arriving.length;
      } catch {
        // A tier that fails is a miss: compute again from the first page that did not arrive.
        session.kvTokens = Math.min(session.kvTokens, this.#position[arriving[0]!]! * this.#plan.pageTokens);
        for (const page of arriving) {
          this.#hostPolicy.unpin(page);
          this.#dropHostCopy(page);
        }
      }
    }
    for (let i = arriving.length - 1; i >= 0; i--) {
      const page = arriving[i]!;
      this.#policy.touch(page, 0);
      this.#pin(page);
      if (this.#host[page]! < 0) continue;
      this.#hostPolicy.unpin(page);
      // The copy is redundant while the page is resident: the first to go when the host is full.
      this.#hostPolicy.touch(page, 1);
    }
    while (session.pages.length < pages) this.#add(session, devicePages[next++]!);
    // The page that the turn writes into first, if it is partly filled: its copy goes stale.
    const writes = Math.floor(session.kvTokens / this.#plan.pageTokens);
    if (writes < session.pages.length) this.#dropHostCopy(session.pages.at(writes));
    this.#map(session);
    this.counters.faults += missing;
    return arriving.length;
  }

  #add(session: Session, devicePage: number): void {
    const page = this.#freeIds[--this.#freeIdCount]!;
    this.#device[page] = devicePage;
    this.#position[page] = session.pages.length;
    this.#owner[page] = session;
    session.pages.push(page);
    this.#policy.touch(page, 0);
    this.#pin(page);
  }

  /** All pages of the session are resident. */
  #map(session: Session): void {
    this.#windows.map(session, (page) => this.#device[page]!);
  }

  /**
   * Device pages for `count` pages of running turns, owned by the caller: free ones, and those of victims once
   * their bytes are safe on the host. The caller has seen that `available` suffices, in the same tick.
   */
  async #acquire(count: number): Promise<Int32Array> {
    const devicePages = new Int32Array(count);
    let filled = 0;
    while (filled < count && this.#memory.freePages > 0) devicePages[filled++] = this.#memory.allocate();
    if (filled === count) return devicePages;

    const victims = this.#victims(count - filled);
    const saved: number[] = [];
    const hostPages: number[] = [];
    for (const page of victims) {
      if (this.#owner[page] === undefined) {
        // Freed meanwhile, because a shallower page of its session was dropped.
        devicePages[filled++] = this.#memory.allocate();
        continue;
      }
      if (this.#host[page]! < 0) {
        const hostPage = this.#takeHostPage();
        if (this.#owner[page] === undefined) {
          this.#memory.releaseHost(hostPage);
          devicePages[filled++] = this.#memory.allocate();
          continue;
        }
        if (hostPage >= 0) {
          this.#leaving[page] = 1;
          this.#owner[page].leaving++;
          saved.push(page);
          hostPages.push(hostPage);
          continue;
        }
      } else {
        this.counters.cleanEvictions++;
        this.#hostPolicy.touch(page, this.#bit[page] as Bit);
      }
      devicePages[filled++] = this.#device[page]!;
      this.#device[page] = -1;
      if (this.#host[page]! < 0) this.#lose(page);
    }
    if (saved.length > 0) {
      const copied = await this.#copyOut(saved, hostPages);
      saved.forEach((page, i) => {
        devicePages[filled++] = this.#device[page]!;
        this.#device[page] = -1;
        this.#arriveOnHost(page, hostPages[i]!, copied);
      });
    }
    return devicePages;
  }

  /** Victims of the policy, already out of every window. */
  #victims(count: number): number[] {
    const victims: number[] = [];
    const cut = new Map<Session, number>();
    while (victims.length < count) {
      const page = this.#policy.victim();
      if (page < 0) throw new Error(`the policy named ${victims.length} of ${count} victims`);
      victims.push(page);
      const session = this.#owner[page]!;
      cut.set(session, Math.min(cut.get(session) ?? Infinity, this.#position[page]!));
    }
    for (const [session, position] of cut) this.#windows.truncate(session, position);
    return victims;
  }

  /** A free page of the host tier, made free if need be; −1 if there is none to be had. */
  #takeHostPage(): number {
    if (this.#memory.freeHostPages === 0) {
      const page = this.#hostPolicy.victim();
      if (page < 0) return -1;
      this.#memory.releaseHost(this.#host[page]!);
      this.#host[page] = -1;
      if (this.#device[page]! < 0) this.#lose(page);
    }
    return this.#memory.allocateHost();
  }

  async #copyOut(pages: readonly number[], hostPages: readonly number[]): Promise<boolean> {
    const copy = this.#memory.pageOut(
      Int32Array.from(pages, (page) => this.#device[page]!),
      Int32Array.from(hostPages),
    );
    const settled = copy.then(
      () => {},
      () => {},
    );
    this.#copies.add(settled);
    try {
      await copy;
      return true;
    } catch {
      return false;
    } finally {
      this.#copies.delete(settled);
    }
  }

  #arriveOnHost(page: number, hostPage: number, copied: boolean): void {
    this.#leaving[page] = 0;
    const session = this.#owner[page];
    if (session === undefined) {
      // Its session let it go while it was being copied.
      this.#memory.releaseHost(hostPage);
      this.#freeIds[this.#freeIdCount++] = page;
      return;
    }
    session.leaving--;
    if (!copied) {
      this.#memory.releaseHost(hostPage);
      this.#lose(page);
      return;
    }
    this.counters.pageOut[session.busy ? "preempt" : "evict"]++;
    this.#host[page] = hostPage;
    this.#hostPolicy.touch(page, this.#bit[page] as Bit);
  }

  /** The page's bytes are gone: what follows it in its session is of no use either. */
  #lose(page: number): void {
    const session = this.#owner[page]!;
    const position = this.#position[page]!;
    this.counters.dropped += session.pages.length - position;
    this.truncate(session, position * this.#plan.pageTokens);
    if (session.pages.length > 0 || session.busy) return;
    this.#windows.close(session);
    this.#onEmpty(session);
  }

  #free(page: number): void {
    this.#policy.remove(page);
    this.#shadow.remove(page);
    this.#predictor.forget(page);
    const session = this.#owner[page]!;
    this.#owner[page] = undefined;
    this.#dropHostCopy(page);
    if (this.#leaving[page] === 1) {
      session.leaving--;
      return; // arriveOnHost() does the rest
    }
    if (this.#device[page]! >= 0) this.#memory.release(this.#device[page]!);
    this.#device[page] = -1;
    this.#freeIds[this.#freeIdCount++] = page;
  }

  #dropHostCopy(page: number): void {
    if (this.#host[page]! < 0) return;
    this.#hostPolicy.remove(page);
    this.#memory.releaseHost(this.#host[page]!);
    this.#host[page] = -1;
  }

  #pin(page: number): void {
    this.#policy.pin(page);
    this.#pinned++;
  }

  #unpinAll(session: Session): void {
    for (let i = 0; i < session.pages.length; i++) this.#policy.unpin(session.pages.at(i));
    this.#pinned -= session.pages.length;
  }

  /** Walks the whole state; throws on a broken invariant. */
  checkIntegrity(sessions: Iterable<Session>): void {
    const fail = (what: string) => {
      throw new Error(`pager integrity: ${what}`);
    };
    this.#policy.checkIntegrity();
    this.#hostPolicy.checkIntegrity();
    let owned = 0;
    let resident = 0;
    let onHost = 0;
    for (const session of sessions) {
      if (session.kvTokens > session.pages.length * this.#plan.pageTokens) fail("valid tokens without pages");
      for (let i = 0; i < session.pages.length; i++) {
        const page = session.pages.at(i);
        owned++;
        if (this.#owner[page] !== session || this.#position[page] !== i)
          fail(`page ${page} has another owner`);
        if (this.#device[page]! < 0 && this.#host[page]! < 0) fail(`page ${page} is nowhere`);
        const settled = this.#operations === 0 || this.#leaving[page] === 1;
        if (settled && this.#policy.has(page) !== (this.#device[page]! >= 0 && this.#leaving[page] === 0)) {
          fail(`page ${page}: policy and memory disagree`);
        }
        if (this.#hostPolicy.has(page) !== this.#host[page]! >= 0)
          fail(`page ${page}: host policy disagrees`);
        if (this.#device[page]! >= 0) resident++;
        if (this.#host[page]! >= 0) onHost++;
      }
    }
    if (this.#operations > 0) return;
    if (owned + this.#freeIdCount !== this.#owner.length)
      fail(`${owned} owned ids and ${this.#freeIdCount} free`);
    if (resident + this.#memory.freePages !== this.#plan.pages) fail(`${resident} resident pages leak`);
    if (onHost + this.#memory.freeHostPages !== this.#plan.hostPages) fail(`${onHost} host pages leak`);
  }
}

/** The page behind a position of the session, or −1. */
function deeper(session: Session, position: number): number {
  return position + 1 < session.pages.length ? session.pages.at(position + 1) : -1;
}
