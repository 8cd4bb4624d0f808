import { Session } from "./session.ts";

/** The conversations that hold pages, by name and, for unnamed ones, by what they begin with. */
export class SessionTable {
  readonly #named = new Map<string, Session>();
  readonly #unnamed = new Set<Session>();

  get size(): number {
    return this.#named.size + this.#unnamed.size;
  }

  /**
   * The idle session that a request continues, or a new one.
   *
   * A named request continues its session, whatever it shares with it. An unnamed one continues the idle unnamed
   * session that it shares the most tokens with, if it keeps at least half of that session's: a common system
   * prompt alone must not cost another conversation its pages. A named session that is busy is left alone: the
   * second request runs as an unnamed one.
   */
  claim(key: string | undefined, prompt: Int32Array): Session {
    const named = key === undefined ? undefined : this.#named.get(key);
    if (named !== undefined && !named.busy) return named;
    if (key !== undefined && named === undefined) {
      const session = new Session(key);
      this.#named.set(key, session);
      return session;
    }
    let best: Session | undefined;
    let bestLength = 0;
    for (const session of this.#unnamed) {
      if (session.busy) continue;
      const length = session.commonPrefix(prompt);
      if (length > bestLength && 2 * length >= session.kvTokens) {
        best = session;
        bestLength = length;
      }
    }
    if (best !== undefined) return best;
    const session = new Session(undefined);
    this.#unnamed.add(session);
    return session;
  }

  delete(session: Session): void {
    if (session.key === undefined) this.#unnamed.delete(session);
    else this.#named.delete(session.key);
  }

  *[Symbol.iterator](): Generator<Session> {
    yield* this.#named.values();
    yield* this.#unnamed;
  }
}
