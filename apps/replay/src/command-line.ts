import { createPredictor, bitMeaning, PagingError, policyNames, predictorNames } from "@kvpage/paging";
import { traceFormats, TraceError } from "@kvpage/traces";
import { Command, CommanderError, Option } from "commander";
import { parseCapacity } from "./capacity.ts";
import { UsageError } from "./errors.ts";
import { describe } from "./info.ts";
import { type LoadOptions, loadFamilies } from "./load.ts";
import type { Result } from "./result.ts";
import { run } from "./run.ts";
import { infoTable, resultTable } from "./table.ts";

/** Where output goes; the tests bring their own. */
export interface Terminal {
  readonly out: (text: string) => void;
  readonly error: (text: string) => void;
  /** Is a person watching standard error? */
  readonly showsProgress: boolean;
}

interface TraceFlags {
  readonly trace: string[];
  readonly format: LoadOptions["format"];
  readonly sessions: number;
  readonly copies: number;
  readonly mergeSeed: number;
  readonly pageTokens: number;
  readonly member?: string;
  readonly serve: LoadOptions["serve"];
  readonly json?: true;
}

interface RunFlags extends TraceFlags {
  readonly policy: string[];
  readonly predictor: string[];
  readonly capacity: string[];
  readonly pageBytes?: number;
  readonly seed: number[];
}

/** Runs the command line and says with which status to exit: 0, or 1 with a message on standard error. */
export async function main(args: readonly string[], terminal: Terminal): Promise<number> {
  try {
    await program(terminal).parseAsync(args, { from: "user" });
    return 0;
  } catch (error) {
    // commander has printed its own message, or the help that was asked for.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 1;
    if (!isExpected(error)) throw error;
    terminal.error(`kvpage-replay: ${flagged(error)}\n`);
    return 1;
  }
}

function program(terminal: Terminal): Command {
  const top = new Command("kvpage-replay")
    .description("Replays cache traces through eviction policies.")
    .exitOverride()
    .configureOutput({ writeOut: terminal.out, writeErr: terminal.error });
  withTraceFlags(top.command("run"))
    .description("simulate policies and print faults, hits, and the proved bounds")
    .option("--policy <names>", `comma-separated: ${policyNames.join(", ")}`, names, [...policyNames])
    .option("--predictor <names>", `comma-separated: ${predictorNames.join(", ")}`, names, ["recency"])
    .requiredOption(
      "--capacity <list>",
      "comma-separated: 3000 pages, 5% of the distinct, 0.34L of the live, 12GiB",
      names,
    )
    .option("--page-bytes <n>", "bytes of a page, for capacities in bytes", positive("--page-bytes"))
    .option("--seed <list>", "comma-separated seeds of random choices and bits", seeds, [1])
    .action((flags: RunFlags) => runCommand(flags, terminal));
  withTraceFlags(top.command("info"))
    .description("print what traces are like")
    .action((flags: TraceFlags) => infoCommand(flags, terminal));
  return top;
}

function withTraceFlags(command: Command): Command {
  return command
    .requiredOption("--trace <file...>", "files, plain, .gz or .zip; - is standard input")
    .addOption(
      new Option("--format <name>", "of the traces").choices(["auto", ...traceFormats]).default("auto"),
    )
    .option("--sessions <n>", "conversations open at once, of session traces", positive("--sessions"), 50)
    .option("--copies <n>", "how often each session occurs", positive("--copies"), 1)
    .option("--merge-seed <n>", "of the merged order", whole("--merge-seed"), 1)
    .option("--page-tokens <n>", "tokens of a page, of session traces", positive("--page-tokens"), 512)
    .option("--member <pattern>", "only these members of archives, such as data/bk*.txt")
    .addOption(
      new Option("--serve <how>", "whole requests, or every page on its own (auto: Mooncake's by pages)")
        .choices(["auto", "requests", "pages"])
        .default("auto"),
    )
    .option("--json", "one object a line");
}

async function runCommand(flags: RunFlags, terminal: Terminal): Promise<void> {
  // Everything typed is checked before the first file is read.
  const capacities = flags.capacity.map(parseCapacity);
  for (const policy of flags.policy) bitMeaning(policy);
  const probe = { capacity: 1, pages: 1, truth: new Uint8Array(1) };
  for (const predictor of flags.predictor) createPredictor(predictor, probe);

  const progress = progressLine(terminal);
  const results = run({
    ...loadOptions(flags),
    traces: flags.trace,
    policies: flags.policy,
    predictors: flags.predictor,
    capacities,
    pageBytes: flags.pageBytes,
    seeds: flags.seed,
    onProgress: progress.show,
  });
  let rows: Result[] = [];
  const printTable = () => {
    if (rows.length > 0) terminal.out(`${resultTable(rows)}\n`);
    rows = [];
  };
  try {
    for await (const result of results) {
      progress.clear();
      if (flags.json === true) terminal.out(`${JSON.stringify(result)}\n`);
      else {
        if (rows.length > 0 && rows[0]!.trace !== result.trace) printTable();
        rows.push(result);
      }
    }
  } finally {
    progress.clear();
  }
  printTable();
}

async function infoCommand(flags: TraceFlags, terminal: Terminal): Promise<void> {
  const infos = [];
  for (const path of flags.trace) infos.push(...(await loadFamilies(path, loadOptions(flags))).map(describe));
  if (flags.json === true) for (const info of infos) terminal.out(`${JSON.stringify(info)}\n`);
  else terminal.out(`${infoTable(infos)}\n`);
}

function loadOptions(flags: TraceFlags): LoadOptions {
  const { sessions, copies, mergeSeed: seed, pageTokens, format, serve } = flags;
  const pattern = flags.member === undefined ? undefined : glob(flags.member);
  const member = pattern === undefined ? undefined : (path: string) => pattern.test(path);
  return { format, pageTokens, merge: { sessions, copies, seed }, member, serve };
}

function glob(pattern: string): RegExp {
  const literals = pattern.split("*").map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${literals.join(".*")}$`);
}

function progressLine(terminal: Terminal) {
  const clear = () => {
    if (terminal.showsProgress) terminal.error("\r\u001B[K");
  };
  const show = (what: string) => {
    if (terminal.showsProgress) terminal.error(`\r\u001B[K${what}`);
  };
  return { clear, show };
}

function names(text: string): string[] {
  return text.split(",").map((name) => name.trim());
}

function seeds(text: string): number[] {
  return names(text).map(whole("--seed"));
}

function whole(flag: string): (text: string) => number {
  return (text) => {
    if (!/^\d+$/.test(text) || Number(text) > 0xffffffff) {
      throw new UsageError(flag, text, "an integer from 0 to 4294967295");
    }
    return Number(text);
  };
}

function positive(flag: string): (text: string) => number {
  return (text) => {
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(Number(text)) || Number(text) < 1) {
      throw new UsageError(flag, text, "an integer ≥ 1");
    }
    return Number(text);
  };
}

function isExpected(error: unknown): error is UsageError | TraceError | PagingError {
  return error instanceof UsageError || error instanceof TraceError || error instanceof PagingError;
}

/** The packages know fields, the user knows flags. */
function flagged(error: UsageError | TraceError | PagingError): string {
  const flag =
    error.code === "KVPAGE_UNKNOWN_NAME"
      ? `--${error.message.split(" ", 1)[0]}`
      : error.code === "KVPAGE_GROUP_TOO_LARGE"
        ? "--capacity"
        : error.message.startsWith("pageTokens")
          ? "--page-tokens"
          : undefined;
  return flag === undefined ? error.message : `${flag}: ${error.message}`;
}
