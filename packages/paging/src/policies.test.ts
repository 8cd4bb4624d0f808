import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { grouped } from "../simulation/arbitrary-traces.ts";
import { type Bit, createPolicy, type PagingError, type Policy, policyNames, simulate } from "./index.ts";
import { Lfd } from "./lfd.ts";

const pages = 8;
const capacity = 4;

function touch(policy: Policy, page: number, bit: Bit, deeper = -1): void {
  if (policy instanceof Lfd) policy.foresee(page, (page * 7) % 5, page % 3);
  policy.touch(page, bit, deeper);
}

function codeOf(action: () => unknown): string | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    return (error as PagingError).code;
  }
}

type Step =
  | { readonly do: "request"; readonly page: number; readonly bit: Bit }
  | { readonly do: "pin" | "unpin" | "remove"; readonly page: number }
  | { readonly do: "victim" };

const pageIds = fc.integer({ min: 0, max: pages - 1 });
const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("request" as const),
      page: pageIds,
      bit: fc.constantFrom<Bit>(0, 1),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constantFrom("pin" as const, "unpin" as const), page: pageIds }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("remove" as const), page: pageIds }) },
  { weight: 2, arbitrary: fc.constant({ do: "victim" as const }) },
);

/**
 * Pages in the order in which they were last requested or unpinned, with what each policy may evict next. It shares
 * no structure with the policies: everything is a scan over an array.
 */
class NaiveModel {
  order: { page: number; bit: Bit; pins: number; ghost: boolean; marked: boolean }[] = [];

  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  find(page: number) {
    return this.order.find((entry) => entry.page === page);
  }

  request(page: number, bit: Bit): void {
    const pins = this.find(page)?.pins ?? 0;
    this.remove(page);
    this.order.push({ page, bit, pins, ghost: this.name === "mark0" && bit === 1, marked: true });
  }

  unpin(page: number): void {
    const entry = this.find(page)!;
    if (--entry.pins > 0) return;
    this.request(page, entry.bit);
  }

  remove(page: number): void {
    this.order = this.order.filter((entry) => entry.page !== page);
  }

  /** The pages that may leave now; changes state as the choice does. */
  candidates(): number[] {
    const free = this.order.filter((entry) => entry.pins === 0);
    const ids = (entries: typeof free) => entries.map((entry) => entry.page);
    if (free.length === 0) return [];
    switch (this.name) {
      case "lru":
        return [free[0]!.page];
      case "flush-when-all-0s": {
        const first = free.find((entry) => entry.ghost) ?? free.find((entry) => entry.bit === 1);
        if (first !== undefined) return [first.page];
        for (const entry of free) entry.ghost = true;
        return [free[0]!.page];
      }
      case "mark0": {
        const ghost = free.find((entry) => entry.ghost);
        if (ghost !== undefined) return [ghost.page];
        if (free.every((entry) => entry.marked)) for (const entry of free) entry.marked = false;
        return ids(free.filter((entry) => !entry.marked));
      }
      case "mark-and-predict": {
        if (free.every((entry) => entry.marked)) for (const entry of free) entry.marked = false;
        const unmarked = free.filter((entry) => !entry.marked);
        const ones = unmarked.filter((entry) => entry.bit === 1);
        return ids(ones.length > 0 ? ones : unmarked);
      }
      default:
        return ids(free);
    }
  }
}

describe.each(policyNames)("%s", (name) => {
  const create = () => createPolicy(name, { capacity, pages });

  it("does what a naive model allows, whatever is pinned, unpinned and removed", () => {
    fc.assert(
      fc.property(fc.array(steps, { maxLength: 80 }), (script) => {
        const policy = create();
        const model = new NaiveModel(name);
        const evict = () => {
          const allowed = model.candidates();
          const victim = policy.victim();
          expect(allowed.length === 0 ? [-1] : allowed).toContain(victim);
          model.remove(victim);
          return victim;
        };
        for (const step of script) {
          if (step.do === "victim") evict();
          else if (step.do === "request") {
            if (!policy.has(step.page) && policy.size === capacity && evict() < 0) continue;
            touch(policy, step.page, step.bit);
            model.request(step.page, step.bit);
          } else if (step.do === "remove") {
            policy.remove(step.page);
            model.remove(step.page);
          } else if (step.do === "pin") {
            const entry = model.find(step.page);
            if (entry === undefined) continue;
            policy.pin(step.page);
            entry.pins++;
          } else {
            if ((model.find(step.page)?.pins ?? 0) === 0) continue;
            policy.unpin(step.page);
            model.unpin(step.page);
          }
          policy.checkIntegrity();
          expect(policy.size).toBe(model.order.length);
          for (const { page } of model.order) expect(policy.has(page)).toBe(true);
        }
      }),
      { numRuns: 300, interruptAfterTimeLimit: 20_000 },
    );
  });

  it("names no victim when every page is pinned", () => {
    const policy = create();
    for (let page = 0; page < capacity; page++) {
      touch(policy, page, 1);
      policy.pin(page);
    }
    expect(policy.victim()).toBe(-1);
    policy.unpin(2);
    expect(policy.victim()).toBe(2);
    expect(policy.size).toBe(capacity - 1);
  });

  it("counts pins", () => {
    const policy = create();
    touch(policy, 0, 0);
    policy.pin(0);
    policy.pin(0);
    policy.unpin(0);
    expect(policy.victim()).toBe(-1);
    policy.unpin(0);
    expect(policy.victim()).toBe(0);
  });

  it("starts afresh with an id that was removed, pinned or not", () => {
    const policy = create();
    touch(policy, 0, 0);
    policy.pin(0);
    policy.remove(0);
    policy.remove(0);
    expect(policy.size).toBe(0);
    touch(policy, 0, 1);
    expect(policy.victim()).toBe(0);
    policy.checkIntegrity();
  });

  it("refuses what the contract forbids", () => {
    const policy = create();
    expect(codeOf(() => policy.pin(0))).toBe("KVPAGE_NOT_RESIDENT");
    expect(codeOf(() => policy.unpin(0))).toBe("KVPAGE_NOT_RESIDENT");
    for (let page = 0; page < capacity; page++) touch(policy, page, 0);
    expect(codeOf(() => policy.unpin(0))).toBe("KVPAGE_NOT_RESIDENT");
    expect(codeOf(() => touch(policy, capacity, 0))).toBe("KVPAGE_CACHE_FULL");
    expect(codeOf(() => createPolicy(name, { capacity: 0, pages }))).toBe("KVPAGE_INVALID_ARGUMENT");
    expect(codeOf(() => createPolicy(name, { capacity, pages: 1.5 }))).toBe("KVPAGE_INVALID_ARGUMENT");
    const trace = grouped([[0, 1, 2, 3, 4]], pages);
    expect(codeOf(() => simulate(trace, create(), 0))).toBe("KVPAGE_GROUP_TOO_LARGE");
  });

  it("does the same for the same seed", () => {
    const ids = Array.from({ length: 400 }, (_, i) => (i * i * 31 + i) % pages);
    const trace = grouped(
      ids.map((page) => [page]),
      pages,
    );
    const bits = Uint8Array.from(ids, (page, i) => (page + i) % 2);
    const run = (seed: number) => {
      const victims: number[] = [];
      const policy = createPolicy(name, { capacity, pages, seed });
      simulate(trace, policy, bits, { onEvict: (page) => victims.push(page) });
      return victims.join();
    };
    expect(run(7)).toBe(run(7));
  });
});

it("group requests lose their deepest pages first", () => {
  // Two conversations of three pages fill the cache; the third turn needs two pages.
  const trace = grouped(
    [
      [0, 1, 2],
      [3, 4, 5],
      [6, 7],
    ],
    pages,
  );
  for (const name of policyNames) {
    const victims: number[] = [];
    const policy = createPolicy(name, { capacity: 6, pages });
    simulate(trace, policy, 0, { onEvict: (page) => victims.push(page) });
    // Whichever conversation is hit loses its tail.
    for (const page of victims) expect([1, 2, 4, 5], name).toContain(page);
    for (const [deep, shallow] of [
      [2, 1],
      [5, 4],
    ] as const) {
      expect(victims.includes(shallow) && !victims.includes(deep), name).toBe(false);
    }
  }
});

it("an unknown policy's error lists the known", () => {
  expect(() => createPolicy("lfu", { capacity, pages })).toThrow(policyNames.join(", "));
});

it("lfd says that it needs the future", () => {
  expect(codeOf(() => createPolicy("lfd", { capacity, pages }).touch(0, 0))).toBe("KVPAGE_NEEDS_FUTURE");
});
