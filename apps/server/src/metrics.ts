import type { EngineStats, GenerationResult } from "@kvpage/engine";
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import type { ServerEngine } from "./ports.ts";

type Labels = Readonly<Record<string, string | number>>;

/** A metric that is read off the engine's statistics when somebody asks. */
interface Reading {
  readonly name: string;
  readonly help: string;
  readonly type: "gauge" | "counter";
  readonly read: (stats: EngineStats) => ReadonlyArray<readonly [labels: Labels, value: number]>;
}

/** vLLM's names and meanings, so that its dashboards and routers need no adapter; each also has `model_name`. */
const vllmReadings: readonly Reading[] = [
  gauge("vllm:num_requests_running", "Requests in the current step.", (s) => s.running),
  gauge(
    "vllm:num_requests_waiting",
    "Requests that wait for admission or for their pages.",
    (s) => s.waiting,
  ),
  gauge(
    "vllm:kv_cache_usage_perc",
    "Part of the device's KV pages in use by running requests, 0 to 1.",
    (s) => (s.device.pages === 0 ? 0 : s.device.pinned / s.device.pages),
  ),
  counter(
    "vllm:num_preemptions_total",
    "Times that a running request had to give way.",
    (s) => s.preemptions,
  ),
  counter("vllm:prefix_cache_queries_total", "Prompt tokens looked up.", (s) => s.promptTokens),
  counter("vllm:prefix_cache_hits_total", "Prompt tokens kept from earlier turns.", (s) => s.cachedTokens),
  counter("vllm:prompt_tokens_total", "Prompt tokens of answered requests.", (s) => s.promptTokens),
  counter("vllm:generation_tokens_total", "Generated tokens.", (s) => s.generatedTokens),
  {
    name: "vllm:request_success_total",
    help: "Finished requests.",
    type: "counter",
    read: (s) => Object.entries(s.requests).map(([finished_reason, value]) => [{ finished_reason }, value]),
  },
  {
    name: "vllm:cache_config_info",
    help: "How the KV memory is cut: tokens of a page, pages of the device and of the host.",
    type: "gauge",
    read: (s) => [
      [{ block_size: s.pageTokens, num_gpu_blocks: s.device.pages, num_cpu_blocks: s.host.pages }, 1],
    ],
  },
];

const kvpageReadings: readonly Reading[] = [
  {
    name: "kvpage:pages",
    help: "Pages by tier and state: free; pinned by a running request; idle or used, kept for a later turn.",
    type: "gauge",
    read: ({ device, host }) => [
      [{ tier: "device", state: "free" }, device.free],
      [{ tier: "device", state: "pinned" }, device.pinned],
      [{ tier: "device", state: "idle" }, device.idle],
      [{ tier: "host", state: "free" }, host.pages - host.used],
      [{ tier: "host", state: "used" }, host.used],
    ],
  },
  {
    name: "kvpage:page_out_total",
    help: "Pages copied out to the tier, by the reason why they had to go.",
    type: "counter",
    read: (s) => Object.entries(s.pageOut).map(([reason, value]) => [{ tier: "host", reason }, value]),
  },
  {
    name: "kvpage:page_in_total",
    help: "Pages copied back from the tier.",
    type: "counter",
    read: (s) => [[{ tier: "host" }, s.pageIn]],
  },
  counter("kvpage:faults_total", "Pages of a turn that were not resident when it came.", (s) => s.faults),
  counter("kvpage:shadow_lru_faults_total", "The faults, had the policy been LRU.", (s) => s.shadowLruFaults),
  {
    name: "kvpage:memory_bytes",
    help: "KV bytes that hold a conversation, by tier.",
    type: "gauge",
    read: (s) => [
      [{ tier: "device" }, (s.device.pages - s.device.free) * s.pageBytes],
      [{ tier: "host" }, s.host.used * s.pageBytes],
    ],
  },
  {
    name: "kvpage:memory_limit_bytes",
    help: "KV bytes that are never exceeded, by tier: the whole pages of the configured bound.",
    type: "gauge",
    read: (s) => [
      [{ tier: "device" }, s.device.pages * s.pageBytes],
      [{ tier: "host" }, s.host.pages * s.pageBytes],
    ],
  },
];

/** vLLM's buckets, in seconds. */
const firstTokenBuckets = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640,
  2560,
];
const tokenBuckets = [
  0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
];
const requestBuckets = [
  0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680,
];

/** Times of one request as they pass. */
export interface RequestTimes {
  /** A token was generated. */
  token(): void;
  finish(result: GenerationResult): void;
}

/** What `/metrics` shows. */
export class ServerMetrics {
  readonly registry = new Registry();
  readonly #modelName: string;
  readonly #firstToken = this.#histogram(
    "time_to_first_token_seconds",
    "To the first token.",
    firstTokenBuckets,
  );
  readonly #interToken = this.#histogram("inter_token_latency_seconds", "Between tokens.", tokenBuckets);
  readonly #endToEnd = this.#histogram(
    "e2e_request_latency_seconds",
    "To the end of the answer.",
    requestBuckets,
  );
  readonly #queue = this.#histogram("request_queue_time_seconds", "To admission.", requestBuckets);

  constructor(engine: Pick<ServerEngine, "stats">, modelName: string) {
    this.#modelName = modelName;
    collectDefaultMetrics({ register: this.registry });
    for (const reading of vllmReadings) this.#add(engine, reading, { model_name: modelName });
    for (const reading of kvpageReadings) this.#add(engine, reading, {});
  }

  /** A request begins now. */
  request(): RequestTimes {
    let last = performance.now();
    let first = true;
    const labels = { model_name: this.#modelName };
    return {
      token: () => {
        const now = performance.now();
        (first ? this.#firstToken : this.#interToken).observe(labels, (now - last) / 1000);
        first = false;
        last = now;
      },
      finish: (result) => {
        this.#endToEnd.observe(labels, result.totalMs / 1000);
        this.#queue.observe(labels, result.queueMs / 1000);
      },
    };
  }

  #add(engine: Pick<ServerEngine, "stats">, { name, help, type, read }: Reading, fixed: Labels): void {
    const readings = () =>
      read(engine.stats()).map(([labels, value]) => [{ ...fixed, ...labels }, value] as const);
    const labelNames = Object.keys(readings()[0]?.[0] ?? {});
    const options = { name, help, labelNames, registers: [] };
    const metric =
      type === "gauge"
        ? new Gauge({
            ...options,
            collect() {
              for (const [labels, value] of readings()) this.set(labels, value);
            },
          })
        : new Counter({
            ...options,
            collect() {
              // The engine counts; a counter of this library can only be added to.
              this.reset();
              for (const [labels, value] of readings()) this.inc(labels, value);
            },
          });
    this.registry.registerMetric(metric);
  }

  #histogram(name: string, help: string, buckets: number[]): Histogram<"model_name"> {
    return new Histogram({
      name: `vllm:${name}`,
      help: `${help} Seconds.`,
      labelNames: ["model_name"],
      buckets,
      registers: [this.registry],
    });
  }
}

function gauge(name: string, help: string, read: (stats: EngineStats) => number): Reading {
  return { name, help, type: "gauge", read: (stats) => [[{}, read(stats)]] };
}

function counter(name: string, help: string, read: (stats: EngineStats) => number): Reading {
  return { name, help, type: "counter", read: (stats) => [[{}, read(stats)]] };
}
