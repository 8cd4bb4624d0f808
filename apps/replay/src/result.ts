/** One line of `--json`: the totals of one policy on one trace, or on all members of an archive that are alike. */
export interface Result {
  readonly trace: string;
  readonly format: string;
  readonly policy: string;
  /** null: the policy heeds no bits. */
  readonly predictor: string | null;
  /** Pages; null if the members of an archive have different ones. */
  readonly capacity: number | null;
  /** null: nothing was left to chance. */
  readonly seed: number | null;
  readonly requests: number;
  readonly accesses: number;
  readonly distinct: number;
  readonly faults: number;
  readonly hits: number;
  readonly hitRatio: number;
  /** Share of the accesses that hit with nothing missing before them in their request; null: pages served singly. */
  readonly prefixHitRatio: number | null;
  /** Faults of the offline optimum and of LRU. */
  readonly opt: number;
  readonly lru: number;
  /** (lru − faults) / (lru − opt); null if LRU is optimal. */
  readonly gapClosed: number | null;
  readonly eta0: number | null;
  readonly eta1: number | null;
  /** The proved bound on faults, in expectation for randomised policies; null: none is proved for this case. */
  readonly bound: number | null;
  readonly boundHolds: boolean | null;
  /** Of the simulation alone. */
  readonly seconds: number;
  readonly loadSeconds: number;
  readonly requestsPerSecond: number;
}

/** What one simulation yields; the rest of a {@link Result} follows from sums of these. */
export interface Measurement {
  readonly capacity: number;
  readonly requests: number;
  readonly accesses: number;
  readonly distinct: number;
  readonly faults: number;
  readonly prefixHits: number | null;
  readonly opt: number;
  readonly lru: number;
  readonly eta0: number | null;
  readonly eta1: number | null;
  readonly bound: number | null;
  readonly seconds: number;
  readonly loadSeconds: number;
}

export interface ResultNames {
  readonly trace: string;
  readonly format: string;
  readonly policy: string;
  readonly predictor: string | null;
  readonly seed: number | null;
}

/** The totals over the members; there is at least one. */
export function total(names: ResultNames, members: readonly Measurement[]): Result {
  const sum = (of: (member: Measurement) => number) => members.reduce((all, member) => all + of(member), 0);
  const sumOrNull = (of: (member: Measurement) => number | null) =>
    members.some((member) => of(member) === null) ? null : sum((member) => of(member)!);
  const capacity = members[0]!.capacity;
  const accesses = sum((m) => m.accesses);
  const faults = sum((m) => m.faults);
  const prefixHits = sumOrNull((m) => m.prefixHits);
  const opt = sum((m) => m.opt);
  const lru = sum((m) => m.lru);
  const bound = sumOrNull((m) => m.bound);
  const requests = sum((m) => m.requests);
  const seconds = sum((m) => m.seconds);
  return {
    trace: names.trace,
    format: names.format,
    policy: names.policy,
    predictor: names.predictor,
    capacity: members.every((m) => m.capacity === capacity) ? capacity : null,
    seed: names.seed,
    requests,
    accesses,
    distinct: sum((m) => m.distinct),
    faults,
    hits: accesses - faults,
    hitRatio: accesses === 0 ? 0 : (accesses - faults) / accesses,
    prefixHitRatio: prefixHits === null ? null : accesses === 0 ? 0 : prefixHits / accesses,
    opt,
    lru,
    gapClosed: lru === opt ? null : (lru - faults) / (lru - opt),
    eta0: sumOrNull((m) => m.eta0),
    eta1: sumOrNull((m) => m.eta1),
    bound,
    // A sum of logarithms is not exact.
    boundHolds: bound === null ? null : faults <= bound * (1 + 1e-12),
    seconds,
    loadSeconds: sum((m) => m.loadSeconds),
    requestsPerSecond: requests / Math.max(seconds, 1e-9),
  };
}
