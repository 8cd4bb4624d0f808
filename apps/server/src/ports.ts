import type { Engine } from "@kvpage/engine";
import type { Model } from "@kvpage/runner";

/** What the server asks of an engine; tests bring a fake. */
export type ServerEngine = Pick<Engine, "plan" | "generate" | "stats" | "close">;

/** What the server asks of a model; tests bring a fake. */
export type ServerModel = Pick<
  Model,
  "bosToken" | "addsSpacePrefix" | "tokenize" | "tokenizeChat" | "tokenBytes" | "applyChatTemplate"
> & { readonly info: { readonly vocabulary: number } };
