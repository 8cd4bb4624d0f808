import Table from "cli-table3";
import type { TraceInfo } from "./info.ts";
import type { Result } from "./result.ts";

const integer = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const count = (value: number | null) => (value === null ? "–" : integer.format(value));
const percent = (value: number | null) => (value === null ? "–" : `${(100 * value).toFixed(2)} %`);
const right = { hAlign: "right" } as const;

function grid(head: readonly string[], numbersFrom: number): Table.Table {
  return new Table({
    head: [...head],
    colAligns: head.map((_, i) => (i < numbersFrom ? "left" : "right")),
    style: { head: [], border: [], compact: true },
  });
}

/** The rows of one trace, for people. */
export function resultTable(results: readonly Result[]): string {
  const head = ["policy", "predictor", "seed", "capacity", "faults", "hits", "prefix hits", "gap closed"];
  const table = grid([...head, "η₀", "η₁", "bound", "Mreq/s"], 3);
  for (const result of results) {
    const holds = result.boundHolds === false ? " exceeded" : "";
    table.push([
      result.policy,
      result.predictor ?? "–",
      result.seed === null ? "–" : String(result.seed),
      count(result.capacity),
      count(result.faults),
      percent(result.hitRatio),
      percent(result.prefixHitRatio),
      percent(result.gapClosed),
      count(result.eta0),
      count(result.eta1),
      { content: count(result.bound) + holds, ...right },
      (result.requestsPerSecond / 1e6).toFixed(3),
    ]);
  }
  const { trace, format, requests, accesses, distinct } = results[0]!;
  const title = `${trace} (${format}): ${count(requests)} requests, ${count(accesses)} accesses, ${count(distinct)} pages`;
  return `${title}\n${table.toString()}`;
}

export function infoTable(infos: readonly TraceInfo[]): string {
  const head = [
    "trace",
    "format",
    "members",
    "requests",
    "accesses",
    "distinct",
    "largest request",
    "live pages L",
  ];
  const table = grid([...head, "end s", "checksum"], 2);
  for (const info of infos) {
    table.push([
      info.trace,
      info.format,
      count(info.members),
      count(info.requests),
      count(info.accesses),
      count(info.distinct),
      count(info.largestRequest),
      count(info.meanLivePages),
      count(info.endSeconds),
      info.checksum === null ? "–" : String(info.checksum),
    ]);
  }
  return table.toString();
}
