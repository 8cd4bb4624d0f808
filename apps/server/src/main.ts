import { pino } from "pino";
import { readCommandLine } from "./config.ts";
import { ServerError } from "./errors.ts";
import { start } from "./start.ts";

async function main(): Promise<void> {
  const { config, printConfig } = readCommandLine(process.argv.slice(2), process.env);
  if (printConfig) {
    console.log(JSON.stringify(config, null, 2));
    return;
  }
  const logger = pino({ level: config.logLevel }, pino.destination(2));
  const stopping = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, resolve);
  });
  const app = await start(config, process.env, logger, (text) => process.stdout.write(text));
  logger.info(
    { signal: await stopping },
    "stopping: answering what has begun; a second signal cuts it short",
  );
  const hurry = () => {
    process.exitCode = 1;
    void app.abort();
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, hurry);
  await app.drain();
  await app.model.dispose();
  process.exit();
}

try {
  await main();
} catch (error) {
  if (!(error instanceof ServerError)) throw error;
  console.error(`kvpage-server: ${error.message}`);
  process.exit(error.code === "KVPAGE_UNAVAILABLE" ? 2 : 1);
}
