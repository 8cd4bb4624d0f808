/** A growing array of int32. */
class Int32List {
  #values = new Int32Array(16);
  length = 0;

  /** The live part; valid until the next push. */
  get view(): Int32Array {
    return this.#values.subarray(0, this.length);
  }

  at(index: number): number {
    return this.#values[index]!;
  }

  push(value: number): void {
    if (this.length === this.#values.length) this.#reserve(this.length + 1);
    this.#values[this.length++] = value;
  }

  append(values: Int32Array): void {
    this.#reserve(this.length + values.length);
    this.#values.set(values, this.length);
    this.length += values.length;
  }

  #reserve(length: number): void {
    if (length <= this.#values.length) return;
    const grown = new Int32Array(Math.max(length, 2 * this.#values.length));
    grown.set(this.#values);
    this.#values = grown;
  }
}

/**
 * A conversation: its tokens, and the pages that hold their K and V on any tier. The pages outlive the turn that
 * filled them; a window is held only while a turn runs and, idle, until another conversation needs it.
 */
export class Session {
  /** The caller's name for it, or undefined. */
  readonly key: string | undefined;
  readonly tokens = new Int32List();
  /** Page ids, by position: page i holds tokens [i · pageTokens, (i + 1) · pageTokens). */
  readonly pages = new Int32List();
  /** Leading tokens whose K and V are valid, on whatever tier: ≤ tokens.length and ≤ pages · pageTokens. */
  kvTokens = 0;
  /** Leading tokens that were ever computed; above `kvTokens` when pages were dropped. */
  computedTokens = 0;
  /** −1: none. */
  window = -1;
  /** Pages on their way to the host; the session cannot run before they have arrived. */
  leaving = 0;
  /** A turn runs or waits with pages: no other request may use the session. */
  busy = false;

  constructor(key: string | undefined) {
    this.key = key;
  }

  /** Leading tokens with valid K and V that `prompt` begins with. */
  commonPrefix(prompt: Int32Array): number {
    return commonLength(this.tokens.view, prompt, this.kvTokens);
  }

  /** Leading tokens of `prompt` that were once computed here, dropped or not. */
  computedPrefix(prompt: Int32Array): number {
    return commonLength(this.tokens.view, prompt, this.computedTokens);
  }
}

function commonLength(a: Int32Array, b: Int32Array, limit: number): number {
  const end = Math.min(limit, a.length, b.length);
  let i = 0;
  while (i < end && a[i] === b[i]) i++;
  return i;
}
