import { readFileSync } from "node:fs";
import { Command } from "commander";
import { ServerError } from "./errors.ts";
import { Expectation, type ServerConfig, settings } from "./settings.ts";

export interface CommandLine {
  readonly config: ServerConfig;
  /** Print the configuration and exit. */
  readonly printConfig: boolean;
}

/** `--kv-memory` for kvMemory. */
export function flagOf(key: keyof ServerConfig): string {
  return `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** `KVPAGE_KV_MEMORY` for kvMemory. */
function variableOf(key: string): string {
  return `KVPAGE_${key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}

const keys = Object.keys(settings) as (keyof ServerConfig)[];

/**
 * The configuration of a command line: a flag goes before its variable, a variable before the configuration file,
 * the file before the default. Help and unknown flags end the process, as commander does it.
 *
 * @throws ServerError KVPAGE_CONFIGURATION naming the flag, the value and what was expected
 */
export function readCommandLine(
  argv: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): CommandLine {
  const command = new Command("kvpage-server")
    .description("OpenAI-compatible inference server whose conversations may outgrow its KV memory")
    .option("--config <FILE.json>", "configuration file, as --print-config prints it (KVPAGE_CONFIG)")
    .option("--print-config", "print the effective configuration as JSON, then exit")
    .addHelpText("after", "\nEvery flag is also an environment variable: --kv-memory is KVPAGE_KV_MEMORY.");
  for (const key of keys) {
    const { argument, help, default: preset } = settings[key];
    const shown = preset === null || preset === false ? "" : ` (default ${preset})`;
    command.option(argument === undefined ? flagOf(key) : `${flagOf(key)} <${argument}>`, help + shown);
  }
  command.parse(argv, { from: "user" });
  const flags = command.opts<Record<string, unknown>>();
  const file = readFile((flags["config"] as string | undefined) ?? environment[variableOf("config")]);
  const config = Object.fromEntries(keys.map((key) => [key, effective(key, flags, environment, file)]));
  return { config: config as unknown as ServerConfig, printConfig: flags["printConfig"] === true };
}

interface ConfigurationFile {
  readonly name: string;
  readonly values: Readonly<Record<string, unknown>>;
}

function effective(
  key: keyof ServerConfig,
  flags: Readonly<Record<string, unknown>>,
  environment: Readonly<Record<string, string | undefined>>,
  file: ConfigurationFile | undefined,
): unknown {
  const setting = settings[key];
  const sources: [value: unknown, from: string][] = [
    [flags[key], ""],
    [environment[variableOf(key)], ` (from ${variableOf(key)})`],
    [file?.values[key] ?? undefined, ` (from "${key}" in ${file?.name})`],
  ];
  const given = sources.find(([value]) => value !== undefined);
  if (given === undefined) return setting.default;
  const [value, from] = given;
  const parsed: unknown = setting.parse(value);
  if (parsed instanceof Expectation) {
    throw configurationError(`${flagOf(key)} is ${JSON.stringify(value)}${from}; expected ${parsed.text}`);
  }
  return parsed;
}

function readFile(name: string | undefined): ConfigurationFile | undefined {
  if (name === undefined) return undefined;
  let values: unknown;
  try {
    values = JSON.parse(readFileSync(name, "utf8"));
  } catch (cause) {
    throw configurationError(`--config is "${name}"; expected a JSON file: ${(cause as Error).message}`, {
      cause,
    });
  }
  if (typeof values !== "object" || values === null || Array.isArray(values)) {
    throw configurationError(`--config is "${name}"; expected a JSON object in it`);
  }
  const unknown = Object.keys(values).find((key) => !Object.hasOwn(settings, key));
  if (unknown !== undefined) {
    throw configurationError(`--config is "${name}"; "${unknown}" in it is not one of ${keys.join(", ")}`);
  }
  return { name, values: values as Record<string, unknown> };
}

function configurationError(message: string, options?: ErrorOptions): ServerError {
  return new ServerError("KVPAGE_CONFIGURATION", message, options);
}
