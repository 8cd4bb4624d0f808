/**
 * Ends a text before the first stop string in it, however the text is cut into pieces: the string that is complete
 * first counts, the longest if several are. What could still become a stop string is held back.
 */
export class StopStrings {
  readonly #stops: readonly string[];
  #held = "";
  #stopped = false;

  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  /** A stop string was met; nothing follows. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** What is certain to be part of the text now. */
  push(piece: string): string {
    if (this.#stopped) return "";
    const text = this.#held + piece;
    const start = this.#firstStop(text);
    if (start >= 0) {
      this.#stopped = true;
      this.#held = "";
      return text.slice(0, start);
    }
    const certain = text.length - this.#undecided(text);
    this.#held = text.slice(certain);
    return text.slice(0, certain);
  }

  /** The text is over: what was held back is part of it. */
  flush(): string {
    const rest = this.#held;
    this.#held = "";
    return rest;
  }

  #firstStop(text: string): number {
    let first = -1;
    let firstEnd = Infinity;
    for (const stop of this.#stops) {
      const start = text.indexOf(stop);
      if (start < 0) continue;
      const end = start + stop.length;
      if (end < firstEnd || (end === firstEnd && start < first)) {
        first = start;
        firstEnd = end;
      }
    }
    return first;
  }

  /** Length of the longest end of the text with which a stop string begins. */
  #undecided(text: string): number {
    let longest = 0;
    for (const stop of this.#stops) {
      for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
        if (stop.startsWith(text.slice(text.length - length))) longest = length;
      }
    }
    return longest;
  }
}
