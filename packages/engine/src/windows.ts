import type { KvMemory } from "./ports.ts";
import type { Session } from "./session.ts";

/**
 * Which sessions hold a window. A running one does; an idle one keeps its window, and the mappings in it, until
 * another session needs one, so that the next turn of a busy conversation maps nothing.
 */
export class Windows {
  readonly #memory: KvMemory;
  /** Idle sessions that hold a window, least recently used first. */
  readonly #idle = new Set<Session>();

  constructor(memory: KvMemory) {
    this.#memory = memory;
  }

  /** The session runs: nobody takes its window. */
  hold(session: Session): void {
    this.#idle.delete(session);
  }

  /** The session is idle: others may take its window. */
  yield(session: Session): void {
    if (session.pages.length === 0) this.close(session);
    else if (session.window >= 0) this.#idle.add(session);
  }

  close(session: Session): void {
    if (session.window < 0) return;
    this.#memory.closeWindow(session.window);
    session.window = -1;
    this.#idle.delete(session);
  }

  /** Maps the session's pages that are not mapped yet; `devicePage` says where each of them is. */
  map(session: Session, devicePage: (page: number) => number): void {
    if (session.window < 0) {
      if (this.#memory.freeWindows === 0) this.#closeIdle();
      session.window = this.#memory.openWindow();
    }
    const mapped = this.#memory.mappedPages(session.window);
    const devicePages = session.pages.view.subarray(mapped).map(devicePage);
    for (;;) {
      try {
        this.#memory.map(session.window, devicePages);
        return;
      } catch (error) {
        // Mappings are bounded too (vm.max_map_count): those of idle sessions give way.
        if ((error as { code?: string }).code !== "KVPAGE_OUT_OF_AREAS" || this.#idle.size === 0) throw error;
        this.#closeIdle();
      }
    }
  }

  /** Unmaps the session's pages from a position on. */
  truncate(session: Session, position: number): void {
    if (session.window < 0) return;
    if (this.#memory.mappedPages(session.window) > position) this.#memory.truncate(session.window, position);
  }

  #closeIdle(): void {
    const [session] = this.#idle;
    if (session === undefined) throw new Error("no idle session holds a window");
    this.close(session);
  }
}
