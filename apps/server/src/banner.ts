import type { MemoryPlan } from "@kvpage/engine";
import type { Model } from "@kvpage/runner";
import type { ServerConfig } from "./settings.ts";
import { formatMebibytes } from "./sizes.ts";

const warning = `
  ############################################################################
  #  No --model was given: this is a small generated model.                  #
  #  Its weights are random and its text is noise. Give --model FILE.gguf.   #
  ############################################################################
`;

/** What is served, with what memory. */
export function banner(options: {
  config: ServerConfig;
  modelId: string;
  model: Pick<Model, "info">;
  plan: MemoryPlan;
  contextTokens: number;
}): string {
  const { config, modelId, plan, contextTokens } = options;
  const { architecture, weights, parameters, layers } = options.model.info;
  const memory = (pages: number) =>
    `${formatMebibytes(pages * plan.pageBytes)} = ${pages} pages = ${(pages * plan.pageTokens).toLocaleString("en-US")} tokens`;
  const rows = [
    ["model", `${modelId}: ${architecture}, ${layers} layers, ${count(parameters)} parameters, ${weights}`],
    ["context", `${contextTokens.toLocaleString("en-US")} tokens, ${config.maxSequences} requests at once`],
    ["KV memory", `${memory(plan.pages)} (pages of ${plan.pageTokens} tokens, ${config.kvType})`],
    [
      "host memory",
      plan.hostPages === 0 ? "none: what is evicted is computed again" : memory(plan.hostPages),
    ],
    ["paging", `policy ${config.policy}, predictor ${config.predictor}`],
    ["mode", `${config.fast ? "fast" : "deterministic"}, ${config.threads} threads`],
  ];
  const lines = rows.map(([name, value]) => `  ${name!.padEnd(12)} ${value}`);
  return `kvpage-server\n${config.model === null ? `${warning}\n` : ""}${lines.join("\n")}\n`;
}

/** The line that scripts wait for, and one to paste. */
export function listening(url: string, hasChatTemplate: boolean): string {
  const [path, input] = hasChatTemplate
    ? ["chat/completions", { messages: [{ role: "user", content: "Hello" }] }]
    : ["completions", { prompt: "Once upon a time" }];
  const body = JSON.stringify({ ...input, max_tokens: 32 });
  return (
    `listening on ${url}\n` +
    `try: curl -s ${url}/v1/${path} -H 'content-type: application/json' -d '${body}'\n`
  );
}

function count(parameters: number): string {
  if (parameters >= 1e9) return `${(parameters / 1e9).toFixed(1)} B`;
  return parameters >= 1e6 ? `${(parameters / 1e6).toFixed(1)} M` : `${Math.round(parameters / 1e3)} K`;
}
