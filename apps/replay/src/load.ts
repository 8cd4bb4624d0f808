import { type ReadOptions, readTraces } from "@kvpage/traces";
import { UsageError } from "./errors.ts";
import { type Serving, Workload } from "./workload.ts";

/** Traces that are reported in one row: a file, or the members of an archive whose names differ in digits alone. */
export interface Family {
  /** The file as typed, and of an archive the members' common name: `archive.zip!data/bk*.txt`. */
  readonly name: string;
  readonly members: readonly Workload[];
}

export interface LoadOptions extends ReadOptions {
  /** `auto`: session traces by requests, block traces by pages, as their published hit ratios are counted. */
  readonly serve: Serving | "auto";
}

/** Reads a file or an archive. @throws TraceError; UsageError if no member is left */
export async function loadFamilies(path: string, options: LoadOptions): Promise<Family[]> {
  const families = new Map<string, Workload[]>();
  let started = performance.now();
  for await (const trace of readTraces(path, options)) {
    const seconds = (performance.now() - started) / 1000;
    const serving =
      options.serve === "auto" ? (trace.format === "mooncake" ? "pages" : "requests") : options.serve;
    const name = trace.name === path ? path : path + trace.name.slice(path.length).replaceAll(/\d+/g, "*");
    const members = families.get(name);
    const workload = new Workload(trace, seconds, serving);
    if (members === undefined) families.set(name, [workload]);
    else members.push(workload);
    started = performance.now();
  }
  if (families.size === 0)
    throw new UsageError("--trace", path, "a trace, or an archive with members that --member accepts");
  return Array.from(families, ([name, members]) => ({ name, members }));
}
