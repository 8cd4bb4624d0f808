import { isRandomised, isRandomPredictor, bitMeaning } from "@kvpage/paging";
import { type Capacity, capacityPages } from "./capacity.ts";
import { type Family, type LoadOptions, loadFamilies } from "./load.ts";
import { type Case, measure } from "./measure.ts";
import { type Result, total } from "./result.ts";

export interface RunOptions extends LoadOptions {
  readonly traces: readonly string[];
  readonly policies: readonly string[];
  readonly predictors: readonly string[];
  readonly capacities: readonly Capacity[];
  readonly pageBytes: number | undefined;
  readonly seeds: readonly number[];
  /** Says what is going on, for a person who waits. */
  readonly onProgress: (what: string) => void;
}

/** Every trace × capacity × policy × predictor × seed, each as soon as it is measured. */
export async function* run(options: RunOptions): AsyncGenerator<Result> {
  for (const path of options.traces) {
    options.onProgress(`reading ${path}`);
    for (const family of await loadFamilies(path, options)) {
      for (const capacity of options.capacities) {
        for (const which of cases(options)) {
          options.onProgress(`${family.name}: ${which.policy}, capacity ${capacity.text}`);
          yield measureFamily(family, capacity, which, options);
        }
      }
    }
  }
}

function* cases(options: RunOptions): Generator<Case> {
  for (const policy of options.policies) {
    const predictors = bitMeaning(policy) === "none" ? [null] : options.predictors;
    for (const predictor of predictors) {
      const byChance = isRandomised(policy) || (predictor !== null && isRandomPredictor(predictor));
      for (const seed of byChance ? options.seeds : [null]) yield { policy, predictor, seed };
    }
  }
}

function measureFamily(family: Family, capacity: Capacity, which: Case, options: RunOptions): Result {
  const members = family.members.map((workload) => {
    const shape = { pages: workload.trace.pages, livePages: () => workload.livePages() };
    return measure(workload, capacityPages(capacity, shape, options.pageBytes), which);
  });
  const { format } = family.members[0]!.trace;
  return total({ trace: family.name, format, ...which }, members);
}
