import type { FastifyInstance } from "fastify";
import { ServerError } from "./errors.ts";
import type { Fields } from "./fields.ts";

export function models(app: FastifyInstance, modelId: string): void {
  const model = { id: modelId, object: "model", created: Math.floor(Date.now() / 1000), owned_by: "kvpage" };
  app.get("/v1/models", () => ({ object: "list", data: [model] }));
  app.get<{ Params: { id: string } }>("/v1/models/:id", (request) => {
    requireModel(request.params.id, modelId);
    return model;
  });
}

/** A request need not name the model; if it does, it must be the one that is served. */
export function checkModel(fields: Fields, modelId: string): void {
  const model = fields.string("model", 1024);
  if (model !== undefined) requireModel(model, modelId);
}

function requireModel(model: string, modelId: string): void {
  if (model === modelId) return;
  throw new ServerError(
    "KVPAGE_MODEL_NOT_FOUND",
    `model is ${JSON.stringify(model)}; expected "${modelId}"`,
    {
      param: "model",
    },
  );
}
