import { availableParallelism, cpus, totalmem } from "node:os";

/** What a figure was measured on, in one line. */
export function machine(): string {
  const model = cpus()[0]?.model.trim() ?? "unknown processor";
  const gib = (totalmem() / 2 ** 30).toFixed(0);
  return `${availableParallelism()} × ${model}, ${gib} GiB, ${process.platform} ${process.arch}, Node ${process.version}`;
}
