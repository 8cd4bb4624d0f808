import { randomBytes } from "node:crypto";
import type { AddressInfo } from "node:net";
import { basename } from "node:path";
import { Engine } from "@kvpage/engine";
import { Model, type ModelInfo } from "@kvpage/runner";
import type { FastifyBaseLogger } from "fastify";
import { type App, createApp } from "./app.ts";
import { banner, listening } from "./banner.ts";
import { bundledModel } from "./bundled-model.ts";
import { flagOf } from "./config.ts";
import { ServerError } from "./errors.ts";
import { type ServerConfig, settings } from "./settings.ts";

/** Contexts that `--kv-memory auto` makes room for at most. */
const AUTO_CONTEXTS = 64;
/** Between two lines that say how far a model is loaded. */
const PROGRESS_MS = 2000;

/**
 * Loads the model, reserves the memory and listens; says so on `print`.
 *
 * @throws ServerError KVPAGE_CONFIGURATION or KVPAGE_UNAVAILABLE
 */
export async function start(
  config: ServerConfig,
  environment: Readonly<Record<string, string | undefined>>,
  logger: FastifyBaseLogger,
  print: (text: string) => void,
): Promise<App & { readonly model: Model }> {
  const path = config.model ?? (await bundledModel(environment));
  const model = await loadModel(path, config, logger);
  const contextTokens = contextOf(config, model.info);
  const engine = createEngine(model, config, contextTokens);
  const modelId = basename(path).replace(/\.gguf$/i, "");
  const { seed } = config;
  const app = createApp({
    engine,
    model,
    modelId,
    contextTokens,
    defaultSeed: () => (seed === null ? randomBytes(8).readBigUInt64LE() : BigInt(seed)),
    logger,
  });
  print(banner({ config, modelId, model, plan: engine.plan, contextTokens }));
  try {
    await app.http.listen({ host: config.host, port: config.port });
  } catch (cause) {
    await app.drain();
    throw unavailable(`--port ${config.port} on --host ${config.host} cannot be had`, cause);
  }
  print(
    listening(
      urlOf(config.host, (app.http.server.address() as AddressInfo).port),
      model.chatTemplate !== undefined,
    ),
  );
  return { ...app, model };
}

async function loadModel(path: string, config: ServerConfig, logger: FastifyBaseLogger): Promise<Model> {
  const { threads, fast, kvType } = config;
  let silentUntil = performance.now() + PROGRESS_MS;
  const onProgress = (fraction: number) => {
    if (performance.now() < silentUntil) return;
    silentUntil = performance.now() + PROGRESS_MS;
    logger.info(`loading ${path}: ${Math.floor(100 * fraction)} %`);
  };
  try {
    return await Model.load({ path, threads, fast, kvType, onProgress });
  } catch (cause) {
    const { code } = cause as { code?: string };
    if (code === "KVPAGE_OUT_OF_MEMORY") throw unavailable(`--model "${path}" cannot be loaded`, cause);
    const flag = code === "KVPAGE_INVALID_ARGUMENT" ? flagIn((cause as Error).message) : `--model "${path}"`;
    throw new ServerError("KVPAGE_CONFIGURATION", `${flag}: ${(cause as Error).message}`, { cause });
  }
}

function contextOf(config: ServerConfig, info: ModelInfo): number {
  const { context } = config;
  if (context !== null && context > info.context) {
    throw new ServerError(
      "KVPAGE_CONFIGURATION",
      `--context is ${context}; expected 1..${info.context}, what the model was trained for`,
    );
  }
  return context ?? info.context;
}

function createEngine(model: Model, config: ServerConfig, contextTokens: number): Engine {
  const { maxSequences, policy, predictor } = config;
  try {
    return Engine.create({
      model,
      kvMemoryBytes: config.kvMemory === "auto" ? autoKvMemory(model, contextTokens) : config.kvMemory,
      hostMemoryBytes: config.hostMemory,
      contextTokens,
      pageTokens: config.pageTokens ?? undefined,
      maxSequences,
      // Room for every request's next token, and for prompts beside them.
      stepTokens: Math.max(512, maxSequences),
      policy,
      predictor,
      seed: config.seed ?? undefined,
    });
  } catch (cause) {
    const { code } = cause as { code?: string };
    if (code?.startsWith("KVPAGE_OUT_OF_") === true) {
      throw unavailable("the memory of --kv-memory and --host-memory cannot be had", cause);
    }
    const { message } = cause as Error;
    throw new ServerError("KVPAGE_CONFIGURATION", `${flagIn(message)}: ${message}`, { cause });
  }
}

/** A quarter of the memory that is available, at most what {@link AUTO_CONTEXTS} full contexts need. */
function autoKvMemory(model: Model, contextTokens: number): number {
  const contexts = AUTO_CONTEXTS * contextTokens * model.kvLayout.rowBytes;
  return Math.min(contexts, Math.floor(process.availableMemory() / 4));
}

/** The flag behind the field that a message of the packages below begins with. */
function flagIn(message: string): string {
  const field = /^\w+/.exec(message)?.[0] ?? "";
  if (Object.hasOwn(settings, field)) return flagOf(field as keyof ServerConfig);
  const key = fieldsBelow[field];
  return key === undefined ? "--kv-memory, --context or --max-sequences" : flagOf(key);
}

/** Fields of the packages below that a setting decides under another name. */
const fieldsBelow: Readonly<Record<string, keyof ServerConfig>> = {
  kvMemoryBytes: "kvMemory",
  pages: "kvMemory",
  hostMemoryBytes: "hostMemory",
  hostPages: "hostMemory",
  contextTokens: "context",
};

function unavailable(what: string, cause: unknown): ServerError {
  return new ServerError("KVPAGE_UNAVAILABLE", `${what}: ${(cause as Error).message}`, { cause });
}

function urlOf(host: string, port: number): string {
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}
