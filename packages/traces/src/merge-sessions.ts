import { TraceError } from "./errors.ts";
import type { Session } from "./read-sessions.ts";
import type { Trace } from "./trace.ts";

export interface MergeOptions {
  /** Conversations that are open at once (default 50). */
  readonly sessions?: number | undefined;
  /** How often each session occurs, every time with pages of its own (default 1). */
  readonly copies?: number | undefined;
  /** Of the order and the starting times (default 1). */
  readonly seed?: number | undefined;
}

/** Slots begin at random within an hour, lest all conversations start together. */
const staggerMs = 3_600_000;

/**
 * Merges sessions into one arrival stream: `copies` shuffled decks of all sessions, dealt to `sessions` slots, each
 * slot taking the next when its present one is over, until the first slot finds the deck empty. A request is one
 * instant, its completion. Deterministic to the bit for a given seed.
 */
export function mergeSessions(name: string, sessions: readonly Session[], options: MergeOptions = {}): Trace {
  const slots = requireCount("sessions", options.sessions ?? 50);
  const copies = requireCount("copies", options.copies ?? 1);
  const random = mulberry32(options.seed ?? 1);

  const deck: number[] = [];
  for (let copy = 0; copy < copies; copy++) {
    for (const which of shuffled(sessions.length, random)) deck.push(which);
  }
  const { startMs, endMs } = deal(deck, sessions, slots, random);

  // Events as (time, instance, k), packed into columns and sorted by that triple.
  const instanceOf: number[] = [];
  const indexOf: number[] = [];
  const timeOf: number[] = [];
  for (const [instance, which] of deck.entries()) {
    const { completedMs } = sessions[which]!;
    for (let k = 0; k < completedMs.length; k++) {
      const time = startMs[instance]! + completedMs[k]!;
      if (time >= endMs) break;
      instanceOf.push(instance);
      indexOf.push(k);
      timeOf.push(time);
    }
  }
  const requests = timeOf.length;
  // Stable, and events were made in the order of (instance, k).
  const order = Uint32Array.from({ length: requests }, (_, i) => i).sort(
    (a, b) => timeOf[a]! - timeOf[b]! || a - b,
  );

  const offsets = new Uint32Array(requests + 1);
  const timesMs = new Float64Array(requests);
  let checksum = 0;
  for (let r = 0; r < requests; r++) {
    const event = order[r]!;
    const instance = instanceOf[event]!;
    const k = indexOf[event]!;
    const session = sessions[deck[instance]!]!;
    offsets[r + 1] = offsets[r]! + session.offsets[k + 1]! - session.offsets[k]!;
    timesMs[r] = timeOf[event]!;
    checksum = (31 * checksum + timeOf[event]! + 7 * instance + k) % 2147483647;
  }

  const ids = new Uint32Array(offsets[requests]!);
  const pageOf: (Int32Array | undefined)[] = Array.from({ length: deck.length }, () => undefined);
  let pages = 0;
  let filled = 0;
  for (let r = 0; r < requests; r++) {
    const event = order[r]!;
    const instance = instanceOf[event]!;
    const session = sessions[deck[instance]!]!;
    const own = (pageOf[instance] ??= new Int32Array(session.pages).fill(-1));
    const k = indexOf[event]!;
    for (let i = session.offsets[k]!; i < session.offsets[k + 1]!; i++) {
      const local = session.pageIds[i]!;
      if (own[local]! < 0) own[local] = pages++;
      ids[filled++] = own[local]!;
    }
  }
  const merge = { sessions: sessions.length, endMs, checksum };
  return { name, format: "claude-code", pages, ids, offsets, timesMs, merge };
}

function requireCount(field: string, value: number): number {
  if (!Number.isSafeInteger(value) || value < 1) {
    throw new TraceError("KVPAGE_INVALID_ARGUMENT", `${field} is ${value}; expected an integer ≥ 1`);
  }
  return value;
}

function shuffled(count: number, random: () => number): number[] {
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

/** Gives each instance of the deck, in its order, to the slot that is free first. */
function deal(
  deck: readonly number[],
  sessions: readonly Session[],
  slots: number,
  random: () => number,
): { startMs: Float64Array; endMs: number } {
  const freeMs = Float64Array.from({ length: slots }, () => Math.floor(random() * staggerMs));
  const startMs = new Float64Array(deck.length);
  const earliest = () => {
    let slot = 0;
    for (let i = 1; i < slots; i++) if (freeMs[i]! < freeMs[slot]!) slot = i;
    return slot;
  };
  for (const [instance, which] of deck.entries()) {
    const slot = earliest();
    startMs[instance] = freeMs[slot]!;
    freeMs[slot]! += sessions[which]!.completedMs.at(-1) ?? 0;
  }
  return { startMs, endMs: freeMs[earliest()]! };
}

/** mulberry32, as numbers of [0, 1). */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
