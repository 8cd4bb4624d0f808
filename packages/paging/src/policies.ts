import { PagingError } from "./errors.ts";
import { FlushWhenAll0s } from "./flush-when-all-0s.ts";
import { Lfd } from "./lfd.ts";
import { Lru } from "./lru.ts";
import { MarkAndPredict } from "./mark-and-predict.ts";
import { Mark0 } from "./mark0.ts";
import type { Policy } from "./policy.ts";
import type { RandomSource } from "./random.ts";
import type { PolicySizes } from "./residency.ts";

export interface PolicyOptions extends PolicySizes {
  /** Of randomised policies (default 1). */
  readonly seed?: number;
  /** Takes the place of the seeded generator: tests enumerate its choices. */
  readonly random?: RandomSource;
}

/**
 * What a policy's bit predicts: `discard` (will the optimum evict the page before its next request?), `phase` (will
 * the page be missed in the next phase?), or nothing.
 */
export type BitMeaning = "none" | "discard" | "phase";

interface PolicyEntry {
  readonly bit: BitMeaning;
  readonly randomised: boolean;
  readonly create: (options: PolicyOptions) => Policy;
}

const policies: Readonly<Record<string, PolicyEntry>> = {
  lru: { bit: "none", randomised: false, create: (options) => new Lru(options) },
  "flush-when-all-0s": {
    bit: "discard",
    randomised: false,
    create: (options) => new FlushWhenAll0s(options),
  },
  mark0: { bit: "discard", randomised: true, create: (options) => new Mark0(options) },
  "mark-and-predict": { bit: "phase", randomised: true, create: (options) => new MarkAndPredict(options) },
  lfd: { bit: "none", randomised: false, create: (options) => new Lfd(options) },
};

/** Names that {@link createPolicy} knows. `lfd` works in `simulate` alone: it must be told the future. */
export const policyNames: readonly string[] = Object.keys(policies);

/**
 * Makes a policy by name.
 *
 * @throws PagingError KVPAGE_UNKNOWN_NAME listing the names; KVPAGE_INVALID_ARGUMENT
 */
export function createPolicy(name: string, options: PolicyOptions): Policy {
  return entryOf(name).create(options);
}

/** @throws PagingError KVPAGE_UNKNOWN_NAME */
export function bitMeaning(name: string): BitMeaning {
  return entryOf(name).bit;
}

/** Does the policy choose at random? @throws PagingError KVPAGE_UNKNOWN_NAME */
export function isRandomised(name: string): boolean {
  return entryOf(name).randomised;
}

function entryOf(name: string): PolicyEntry {
  const entry = Object.hasOwn(policies, name) ? policies[name] : undefined;
  if (entry === undefined) {
    throw new PagingError(
      "KVPAGE_UNKNOWN_NAME",
      `policy is "${name}"; expected one of ${policyNames.join(", ")}`,
    );
  }
  return entry;
}
