export { createApp, type App, type AppOptions } from "./app.ts";
export type { ServerEngine, ServerModel } from "./ports.ts";
export { ServerError, type ServerErrorCode } from "./errors.ts";
