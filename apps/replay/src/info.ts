import { largestRequest } from "@kvpage/traces";
import type { Family } from "./load.ts";

/** What a trace is like, before anything is simulated. */
export interface TraceInfo {
  readonly trace: string;
  readonly format: string;
  /** Traces in the row: more than one for members of an archive. */
  readonly members: number;
  readonly requests: number;
  readonly accesses: number;
  readonly distinct: number;
  readonly largestRequest: number;
  /** Mean over the requests of the pages that were used and will be used again; of an archive the members' mean. */
  readonly meanLivePages: number;
  /** Of merged session traces: when the stream ends, and the checksum of its order. */
  readonly endSeconds: number | null;
  readonly checksum: number | null;
  readonly loadSeconds: number;
}

export function describe({ name, members }: Family): TraceInfo {
  const sum = (of: (member: (typeof members)[number]) => number) =>
    members.reduce((all, m) => all + of(m), 0);
  const { format, merge } = members[0]!.trace;
  return {
    trace: name,
    format,
    members: members.length,
    requests: sum((m) => m.trace.offsets.length - 1),
    accesses: sum((m) => m.trace.ids.length),
    distinct: sum((m) => m.trace.pages),
    largestRequest: members.reduce((most, m) => Math.max(most, largestRequest(m.trace)), 0),
    meanLivePages: sum((m) => m.livePages()) / members.length,
    endSeconds: merge === undefined ? null : merge.endMs / 1000,
    checksum: merge === undefined ? null : merge.checksum,
    loadSeconds: sum((m) => m.loadSeconds),
  };
}
