import {
  bitMeaning,
  createPolicy,
  createPredictor,
  discardErrors,
  faultBound,
  phaseErrors,
  predictAll,
  simulate,
  type SimulationResult,
} from "@kvpage/paging";
import type { Measurement } from "./result.ts";
import { timed, type Workload } from "./workload.ts";

export interface Case {
  readonly policy: string;
  /** null: the policy heeds no bits. */
  readonly predictor: string | null;
  readonly seed: number | null;
}

/** Runs one policy on one workload with a cache of `capacity` pages. */
export function measure(workload: Workload, capacity: number, which: Case): Measurement {
  const { policy, predictor } = which;
  const seed = which.seed ?? 1;
  const { served, trace } = workload;
  const sizes = { capacity, pages: trace.pages, seed };
  const lru = workload.lru(capacity);
  const lfd = workload.lfd(capacity);

  let errors: { eta0: number; eta1: number } | undefined;
  let run: { result: SimulationResult; seconds: number };
  if (policy === "lru") run = lru;
  else if (policy === "lfd") run = lfd;
  else {
    const isPhase = bitMeaning(policy) === "phase";
    const truth = isPhase ? workload.phase(capacity).bits : lfd.discardBits;
    const bits = predictAll(createPredictor(predictor ?? "constant:1", { ...sizes, truth }), served.ids);
    errors = isPhase ? phaseErrors(served, capacity, bits) : discardErrors(truth, bits);
    run = timed(() => simulate(served, createPolicy(policy, sizes), bits));
  }

  const opt = lfd.result.faults;
  // The bounds of the marking algorithms are proved for requests of one page.
  const proved = !workload.grouped || policy === "flush-when-all-0s" || policy === "lfd";
  const clean = policy === "mark-and-predict" ? workload.phase(capacity).cleanPages : 0;
  const facts = { capacity, opt, cleanPages: clean, eta0: errors?.eta0 ?? 0, eta1: errors?.eta1 ?? 0 };
  return {
    capacity,
    requests: trace.offsets.length - 1,
    accesses: trace.ids.length,
    distinct: trace.pages,
    faults: run.result.faults,
    prefixHits: workload.split ? null : run.result.prefixHits,
    opt,
    lru: lru.result.faults,
    eta0: errors?.eta0 ?? null,
    eta1: errors?.eta1 ?? null,
    bound: proved ? (faultBound(policy, facts) ?? null) : null,
    seconds: run.seconds,
    loadSeconds: workload.loadSeconds,
  };
}
