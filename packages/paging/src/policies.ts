import { PagingError } from "./errors.ts";
import { FlushWhenAll0s } from "./flush-when-all-0s.ts";
import { Lfd } from "./lfd.ts";
import { Lru } from "./lru.ts";
import { MarkAndPredict } from "./mark-and-predict.ts";
import { Mark0 } from "./mark0.ts";
import type { Policy } from "./policy.ts";
import type { PolicySizes } from "./residency.ts";

export interface PolicyOptions extends PolicySizes {
  /** Of randomised policies (default 1). */
  readonly seed?: number;
}

const policies: Readonly<Record<string, (options: PolicyOptions) => Policy>> = {
  lru: (options) => new Lru(options),
  "flush-when-all-0s": (options) => new FlushWhenAll0s(options),
  mark0: (options) => new Mark0(options),
  "mark-and-predict": (options) => new MarkAndPredict(options),
  lfd: (options) => new Lfd(options),
};

/** Names that {@link createPolicy} knows. `lfd` works in `simulate` alone: it must be told the future. */
export const policyNames: readonly string[] = Object.keys(policies);

/**
 * Makes a policy by name.
 *
 * @throws PagingError KVPAGE_UNKNOWN_NAME listing the names; KVPAGE_INVALID_ARGUMENT
 */
export function createPolicy(name: string, options: PolicyOptions): Policy {
  const create = Object.hasOwn(policies, name) ? policies[name] : undefined;
  if (create === undefined) {
    throw new PagingError(
      "KVPAGE_UNKNOWN_NAME",
      `policy is "${name}"; expected one of ${policyNames.join(", ")}`,
    );
  }
  return create(options);
}
